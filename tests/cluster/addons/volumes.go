package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

const (
	provisioner = "ergon.test/local-volumes"
	// Set by the controller manager on a claim that is this provisioner's to serve.
	claimedBy     = "volume.kubernetes.io/storage-provisioner"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

// volumes provisions PersistentVolumes that are folders under dir, open to every user:
// the steps of a task run as whoever their images say.
type volumes struct {
	dir     string
	client  kubernetes.Interface
	factory informers.SharedInformerFactory
	queue   workqueue.TypedRateLimitingInterface[item]
}

// item is a claim (with its namespace) or, without a namespace, a volume.
type item struct{ namespace, name string }

func provisionVolumes(args []string) error {
	flags := flag.NewFlagSet("volumes", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig file")
	dir := flags.String("dir", "", "folder for the volumes' folders")
	_ = flags.Parse(args)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 500
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	v := volumes{
		dir:     *dir,
		client:  client,
		factory: informers.NewSharedInformerFactory(client, 0),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](20*time.Millisecond, 10*time.Second)),
	}
	enqueue := func(object any) {
		if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = tombstone.Obj
		}
		if o, ok := object.(meta.Object); ok {
			v.queue.Add(item{o.GetNamespace(), o.GetName()})
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: enqueue,
	}
	for _, informer := range []cache.SharedIndexInformer{
		v.factory.Core().V1().PersistentVolumeClaims().Informer(),
		v.factory.Core().V1().PersistentVolumes().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	v.factory.Storage().V1().StorageClasses().Informer()
	ctx := context.Background()
	v.factory.Start(ctx.Done())
	v.factory.WaitForCacheSync(ctx.Done())
	log.Print("volumes: serving")

	for range 3 {
		go v.work(ctx)
	}
	v.work(ctx)
	return nil
}

func (v *volumes) work(ctx context.Context) {
	for {
		key, _ := v.queue.Get()
		sync := v.syncClaim
		if key.namespace == "" {
			sync = v.syncVolume
		}
		if err := sync(ctx, key); err != nil {
			log.Printf("volumes: %s/%s: %v", key.namespace, key.name, err)
			v.queue.AddRateLimited(key)
		} else {
			v.queue.Forget(key)
		}
		v.queue.Done(key)
	}
}

// syncClaim makes the folder and the volume of an unbound claim. The controller manager binds the two.
func (v *volumes) syncClaim(ctx context.Context, key item) error {
	claim, err := v.factory.Core().V1().PersistentVolumeClaims().Lister().PersistentVolumeClaims(key.namespace).Get(key.name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if claim.Annotations[claimedBy] != provisioner || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return nil
	}
	if mode := claim.Spec.VolumeMode; mode != nil && *mode == core.PersistentVolumeBlock {
		log.Printf("volumes: %s/%s: block volumes are not served", key.namespace, key.name)
		return nil
	}
	class, err := v.factory.Storage().V1().StorageClasses().Lister().Get(*claim.Spec.StorageClassName)
	if err != nil {
		return err
	}
	name := "pvc-" + string(claim.UID)
	if _, err := v.factory.Core().V1().PersistentVolumes().Lister().Get(name); err == nil {
		return nil
	}
	path := filepath.Join(v.dir, name)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask
		return err
	}
	kind := core.HostPathDirectory
	volume := core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: core.PersistentVolumeSpec{
			StorageClassName:              class.Name,
			MountOptions:                  class.MountOptions,
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy,
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{HostPath: &core.HostPathVolumeSource{Path: path, Type: &kind}},
		},
	}
	_, err = v.client.CoreV1().PersistentVolumes().Create(ctx, &volume, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// syncVolume removes the folder of a volume that is released or gone, and a released volume itself.
func (v *volumes) syncVolume(ctx context.Context, key item) error {
	volume, err := v.factory.Core().V1().PersistentVolumes().Lister().Get(key.name)
	if apierrors.IsNotFound(err) {
		return v.removeFolder(key.name)
	}
	if err != nil {
		return err
	}
	if volume.Annotations[provisionedBy] != provisioner || volume.Status.Phase != core.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		return nil
	}
	if err := v.removeFolder(key.name); err != nil {
		return err
	}
	err = v.client.CoreV1().PersistentVolumes().Delete(ctx, key.name, meta.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// removeFolder removes a volume's folder, if there is one: other volumes have none here.
func (v *volumes) removeFolder(name string) error {
	if filepath.Base(name) != name {
		return fmt.Errorf("%q is no folder name", name)
	}
	return os.RemoveAll(filepath.Join(v.dir, name))
}
