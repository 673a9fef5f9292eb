//! Replicas against an API server in memory: how fast runs move, and that none has two.

use ergon_api::Group;
use ergon_engine::pod::Platform;
use http::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::cache::Name;
use crate::events::Events;
use crate::fake::Fake;
use crate::metrics::Metrics;
use crate::shell::{Key, Shell};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";

fn member(fake: &Fake, identity: &str) -> Member {
    let address = (identity == "b").then_some(SocketAddr::from(([10, 0, 0, 2], 9443)));
    Member::new(fake.client(), "ns", identity.to_owned(), address)
}

/// A replica that has joined and goes on in the background.
async fn replica(fake: &Fake, identity: &str) -> (Arc<Shares>, JoinHandle<Member>) {
    let shares = Arc::new(Shares::default());
    shares.stay_away();
    let mut member = member(fake, identity);
    member.join(&shares).await;
    let kept = Arc::clone(&shares);
    let task = tokio::spawn(async move {
        member.keep(&kept, || {}).await;
        member
    });
    (shares, task)
}

fn roots() -> Vec<String> {
    (0..200).map(|at| format!("uid-{at}")).collect()
}

fn mine(shares: &Shares) -> usize {
    roots().into_iter().filter(|root| shares.is_mine(|| Some(root.clone()))).count()
}

/// Lets time pass until the runs are shared so, and says how long that took. No run has two at any time.
async fn until(of: &[&Shares], is_so: impl Fn(&[usize]) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let counts: Vec<usize> = of.iter().map(|shares| mine(shares)).collect();
        for root in roots() {
            let acting = of.iter().filter(|shares| shares.is_mine(|| Some(root.clone()))).count();
            assert!(acting <= 1, "{root} has {acting}");
        }
        if is_so(&counts) {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{counts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_works_at_once_and_again_after_a_restart() {
    let fake = Fake::default();
    let start = Instant::now();
    let (first, task) = replica(&fake, "a").await;
    assert_eq!((mine(&first), first.members()), (200, 1));
    task.abort();
    let (again, _task) = replica(&fake, "a").await;
    assert_eq!((mine(&again), start.elapsed()), (200, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_second_one_takes_its_share_soon_and_gives_it_back_at_once() {
    let fake = Fake::default();
    let (first, _first) = replica(&fake, "a").await;
    let (second, task) = replica(&fake, "b").await;
    assert_eq!(mine(&second), 0, "the first one does not know of it yet");
    let is_shared =
        |counts: &[usize]| counts.iter().sum::<usize>() == 200 && counts[1] > 60 && counts[0] > 60;
    let took = until(&[&first, &second], is_shared).await;
    assert!(took <= LOOK + 2 * LOOK_SOON, "{took:?}");
    let of_second = roots().into_iter().find(|root| second.is_mine(|| Some(root.clone())));
    assert_eq!(first.elsewhere(|| of_second.clone()).map(|address| address.port()), Some(9443));
    assert_eq!(second.elsewhere(|| of_second.clone()), None, "it is its own");

    task.abort();
    let mut leaving = member(&fake, "b");
    leaving.join(&second).await;
    second.stay_away();
    leaving.leave().await.expect("left");
    let took = until(&[&first, &second], |counts| counts == [200, 0]).await;
    assert!(took <= LOOK + LOOK_SOON, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_runs_of_one_that_is_gone_move_in_time() {
    let fake = Fake::default();
    let (first, _first) = replica(&fake, "a").await;
    let (second, task) = replica(&fake, "b").await;
    until(&[&first, &second], |counts| counts[1] > 60 && counts[0] + counts[1] == 200).await;
    // It goes on, and can renew no more.
    task.abort();
    let took = until(&[&first, &second], |counts| counts[1] == 0).await;
    assert!(took <= DEADLINE && took >= DEADLINE.saturating_sub(RENEW + LOOK), "{took:?}");
    let more = until(&[&first, &second], |counts| counts == [200, 0]).await;
    assert!(took + more < Duration::from_secs(15), "{took:?} and {more:?}");
    // What it has left behind goes as well.
    tokio::time::sleep(GARBAGE).await;
    assert!(fake.get(&format!("{LEASES}/ergon-controller-b")).is_none());
    assert_eq!(mine(&first), 200);
}

#[tokio::test(start_paused = true)]
async fn one_whose_lease_somebody_else_writes_stops() {
    let fake = Fake::default();
    let (first, task) = replica(&fake, "a").await;
    let path = format!("{LEASES}/ergon-controller-a");
    let lease = fake.get(&path).expect("its Lease");
    fake.put(&path, lease);
    task.await.expect("it ends");
    assert_eq!(mine(&first), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_renew_for_a_moment_goes_on_and_for_long_it_ends() {
    let fake = Fake::default();
    let (first, task) = replica(&fake, "a").await;
    for _ in 0..3 {
        fake.fail(Method::GET, LEASES, 500, "etcd is away");
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(mine(&first), 200);
    for _ in 0..30 {
        fake.fail(Method::GET, LEASES, 500, "etcd is away");
    }
    let start = Instant::now();
    task.await.expect("it ends");
    assert!(start.elapsed() <= DEADLINE && mine(&first) == 0);
}

#[test]
fn names_of_leases() {
    for (identity, expected) in [
        ("ergon-controller-5c9-x7", "ergon-controller-5c9-x7"),
        ("My_Laptop.local", "ergon-controller-my-laptop.local"),
        ("-x-", "ergon-controller-x"),
    ] {
        assert_eq!(lease_name(identity), expected);
    }
}

/// A shell that knows the runs of the server, as its watches would tell it.
fn shell(fake: &Fake, runs: usize) -> Arc<Shell> {
    let metrics = Arc::new(Metrics::default());
    let events = Events::start(&fake.client(), "test", &metrics);
    let platform = Platform { image: "ergon".to_owned(), image_volumes: true, report: None };
    let shell = Shell::new(fake.client(), platform, events, metrics);
    shell.shares.stay_away();
    for at in 0..runs {
        let run = fake.get(&path(at)).expect("the run");
        shell.runs(Group::Ergon).task_runs.observe(serde_json::from_value(run).expect("a run"));
    }
    Arc::new(shell)
}

fn path(at: usize) -> String {
    format!("/apis/ergon.dev/v1/namespaces/ns/taskruns/run-{at}")
}

/// Has a shell join, and work whenever other runs are its own.
async fn join(fake: &Fake, identity: &str, shell: &Arc<Shell>) -> JoinHandle<()> {
    let mut member = member(fake, identity);
    member.join(&shell.shares).await;
    shell.enqueue_all();
    let kept = Arc::clone(shell);
    tokio::spawn(async move { member.keep(&kept.shares, || kept.enqueue_all()).await })
}

async fn work(shell: &Shell) {
    while let Some(key) = shell.queue.try_next() {
        let after = shell.reconcile(&key).await;
        shell.queue.done(&key, after);
    }
}

#[tokio::test(start_paused = true)]
async fn two_shells_share_the_runs_and_one_takes_over() {
    const RUNS: usize = 20;
    let fake = Fake::default();
    let put = |at: usize| {
        let name = format!("run-{at}");
        fake.put(&path(at), json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun",
            "metadata": {"namespace": "ns", "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"taskSpec": {"steps": [{"name": "a", "image": "i", "script": "true"}]}}}));
    };
    (0..RUNS).for_each(put);
    let (one, other) = (shell(&fake, RUNS), shell(&fake, RUNS));
    let _one = join(&fake, "a", &one).await;
    let task = join(&fake, "b", &other).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    fake.writes();
    let pods = |fake: &Fake| fake.writes().iter().filter(|write| write.starts_with("POST /api/v1/")).count();
    work(&one).await;
    let of_one = pods(&fake);
    work(&other).await;
    let of_other = pods(&fake);
    assert!(of_one > 3 && of_other > 3, "{of_one} and {of_other}");
    assert_eq!(of_one + of_other, RUNS, "each run has one that works on it");

    task.abort();
    let key = |at: usize| Key::task_run(Group::Ergon, Name::new("ns", format!("run-{at}")));
    let of_other: Vec<Key> = (0..RUNS).map(key).filter(|key| other.works_on(key)).collect();
    let start = Instant::now();
    while !of_other.iter().all(|key| one.works_on(key)) {
        assert!(start.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(of_other.iter().all(|key| !other.works_on(key)));
    // It is told, and carries on with what the other one had begun.
    work(&one).await;
    // Where so much is to do, what has not begun is written late.
    tokio::time::sleep(Duration::from_secs(31)).await;
    work(&one).await;
    for at in 0..RUNS {
        let status = fake.get(&path(at)).expect("the run")["status"].clone();
        assert_eq!(status["podName"], format!("run-{at}-pod"), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_run_are_with_it() {
    let fake = Fake::default();
    let shell = shell(&fake, 0);
    let (_one, _other) = (join(&fake, "a", &shell).await, replica(&fake, "b").await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let runs = shell.runs(Group::Ergon);
    let owner = |kind: &str, name: &str| json!([{"apiVersion": "ergon.dev/v1", "kind": kind, "name": name, "uid": name, "controller": true}]);
    let metadata = |name: &str, owners| json!({"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1", "ownerReferences": owners});
    let (mut with, mut of_all) = (0, 0);
    for at in 0..40 {
        let (outer, inner, task) = (format!("outer-{at}"), format!("inner-{at}"), format!("task-{at}"));
        let pipeline_run = |name: &str, owners| {
            let run = json!({"apiVersion": "ergon.dev/v1", "kind": "PipelineRun", "spec": {}, "metadata": metadata(name, owners)});
            serde_json::from_value(run).expect("a run")
        };
        let task_run = json!({"apiVersion": "ergon.dev/v1", "kind": "TaskRun", "spec": {},
            "metadata": metadata(&task, owner("PipelineRun", &inner))});
        runs.task_runs.observe(serde_json::from_value(task_run).expect("a run"));
        let inner_run = pipeline_run(&inner, owner("PipelineRun", &outer));
        runs.pipeline_runs.observe(pipeline_run(&outer, json!([])));
        while shell.queue.try_next().is_some() {}
        runs.pipeline_runs.observe(inner_run);
        let inner_run = runs.pipeline_runs.get(&Name::new("ns", inner.as_str())).expect("the run");
        shell.tell_parts(Group::Ergon, &inner_run);
        let task = Key::task_run(Group::Ergon, Name::new("ns", task));
        assert_eq!(shell.queue.try_next().as_ref(), Some(&task), "its owner was not known before");
        shell.queue.done(&task, crate::queue::After::Rest);
        let [outer, inner] =
            [outer, inner].map(|name| Key::pipeline_run(Group::Ergon, Name::new("ns", name)));
        let works = shell.works_on(&outer);
        assert_eq!((shell.works_on(&inner), shell.works_on(&task)), (works, works));
        with += usize::from(works);
        of_all += 1;
    }
    assert!(with > 5 && with < of_all - 5, "{with} of {of_all}");
}
