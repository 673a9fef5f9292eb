//! Whole containers, as whoever runs the tests.

use std::fs;
use std::path::{Path, PathBuf};

use ergon_local::container::{Capabilities, Exit, Limits, Mount, MountSource, Network};
use ergon_local::images::User;
use ergon_local::{Container, ContainerError, ContainerSpec, Image, PullPolicy, Runtime, Store};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::fixture::{NAME, tar_of, tools_image};

/// A store with the tools image and a runtime, in a directory of their own.
pub struct Machine {
    pub temp: TempDir,
    pub image: Image,
    pub runtime: Runtime,
}

impl Machine {
    /// `None`, and the reason printed, where this machine cannot run containers.
    pub async fn new() -> Option<Self> {
        let exe = std::env::var("ERGON_TEST_HELPER")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_ergon-container").to_owned());
        let built = tools_image()?;
        let temp = tempfile::tempdir().unwrap();
        let archive = temp.path().join("tools.tar");
        fs::write(&archive, tar_of(&built.layout(Some(NAME)))).unwrap();
        let store = Store::open(temp.path().join("images")).unwrap();
        store.import(&archive, None).unwrap();
        let image = store.resolve(NAME, PullPolicy::Never, None).await.unwrap();
        let runtime = Runtime::open(temp.path().join("containers")).unwrap().with_exe(exe);
        let machine = Self { temp, image, runtime };
        match machine.runtime.start(&machine.spec("probe", &["true"])).await {
            Ok(container) => {
                assert!(container.notes().is_empty(), "{:?}", container.notes());
                container.delete().await.unwrap();
                Some(machine)
            }
            Err(ContainerError::Start { reason, .. })
                if reason.contains("namespace") && reason.contains("sysctl")
                    || reason.contains("CAP_SYS_ADMIN") =>
            {
                eprintln!("skipped: {reason}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub fn spec(&self, id: &str, argv: &[&str]) -> ContainerSpec {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        ContainerSpec::of_image(id, &self.image, argv).unwrap()
    }

    pub fn sh(&self, id: &str, script: &str) -> ContainerSpec {
        self.spec(id, &["sh", "-ec", script])
    }

    fn containers(&self) -> PathBuf {
        self.temp.path().join("containers")
    }
}

/// Runs to the end, and shows that nothing is left.
pub async fn run(machine: &Machine, spec: &ContainerSpec) -> (Exit, String, String) {
    let mut container = machine.runtime.start(spec).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (container.stdout.take().unwrap(), container.stderr.take().unwrap());
    let read = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    read.0.unwrap();
    read.1.unwrap();
    let exit = container.wait().await.unwrap();
    container.delete().await.unwrap();
    assert_eq!(fs::read_dir(machine.containers()).unwrap().count(), 0);
    assert_no_mounts(machine);
    (exit, out, err)
}

fn assert_no_mounts(machine: &Machine) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = machine.temp.path().to_str().unwrap();
    assert!(!mounts.contains(dir), "{mounts}");
}

async fn output(machine: &Machine, spec: &ContainerSpec) -> String {
    let (exit, out, err) = run(machine, spec).await;
    assert_eq!(exit.code, 0, "{err}");
    out
}

#[tokio::test]
async fn output_exit_code_environment_and_directory() {
    let Some(machine) = Machine::new().await else { return };
    let mut spec =
        machine.sh("a", "echo out; echo err >&2; echo $FROM_IMAGE $MINE $HOME; pwd; env | grep -c .; exit 7");
    spec.set_env("MINE", "a b");
    let (exit, out, err) = run(&machine, &spec).await;
    assert_eq!((exit.code, exit.signal), (7, None));
    assert_eq!(err, "err\n");
    // PATH, FROM_IMAGE, HOME, MINE, and what the shell itself sets.
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("out"));
    assert_eq!(lines.next(), Some("yes a b /root"));
    assert_eq!(lines.next(), Some("/work"));
    assert!(lines.next().unwrap().parse::<u32>().unwrap() <= 7, "{out}");
    assert!(exit.peak_rss_bytes > 0);
}

#[tokio::test]
async fn the_image_is_seen_as_its_layers_say() {
    let Some(machine) = Machine::new().await else { return };
    let script = "test ! -e /etc/old; test ! -e /opt/one/low; cat /opt/one/high; echo; \
                  echo new > /opt/one/high; cat /opt/one/high; cat /etc/hostname /etc/hosts; hostname; \
                  test -s /etc/resolv.conf -o -f /etc/resolv.conf; echo done";
    let mut spec = machine.sh("layers", script);
    spec.hosts.push(("10.1.2.3".parse().unwrap(), vec!["db".to_owned(), "db.local".to_owned()]));
    let out = output(&machine, &spec).await;
    assert!(out.starts_with("high\nnew\nlayers\n"), "{out}");
    assert!(out.contains("127.0.0.1 layers\n10.1.2.3 db db.local\nlayers\ndone\n"), "{out}");
    let again = output(&machine, &machine.sh("layers", "cat /opt/one/high")).await;
    assert_eq!(again, "high", "what one container wrote, the next does not see");
}

#[tokio::test]
async fn without_overlayfs_layers_are_copied() {
    let Some(machine) = Machine::new().await else { return };
    let mut spec = machine.sh("copy", "test ! -e /etc/old; test ! -e /opt/one/low; cat /opt/one/high; id -u");
    let container = machine.runtime.start(&spec).await.unwrap();
    assert!(container.notes().is_empty(), "{:?}", container.notes());
    container.delete().await.unwrap();
    // More layers than the kernel's options can name.
    spec.layers.extend(vec![machine.image.layers[1].clone(); 600]);
    let container = machine.runtime.start(&spec).await.unwrap();
    assert!(container.notes()[0].contains("overlayfs cannot be used here"), "{:?}", container.notes());
    container.delete().await.unwrap();
    assert_eq!(output(&machine, &spec).await, "high0\n");
}

#[tokio::test]
async fn the_user_is_who_was_asked_for() {
    let Some(machine) = Machine::new().await else { return };
    let mut spec = machine.sh("user", "id -u; id -g; id -G; touch /tmp/mine; echo to-stdout > /dev/stdout");
    spec.user = User { uid: 1000, gid: 1000, groups: vec![10], home: None };
    let out = output(&machine, &spec).await;
    let groups = if nix::unistd::geteuid().is_root() { "1000 10" } else { "1000" };
    assert!(out.starts_with(&format!("1000\n1000\n{groups}")), "{out}");
    assert!(out.ends_with("to-stdout\n"), "{out}");
}

#[tokio::test]
async fn mounts_are_made_and_read_only_holds() {
    let Some(machine) = Machine::new().await else { return };
    let shared = machine.temp.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("in"), "from outside").unwrap();
    let bind = |target: &str, source: &Path, read_only| Mount {
        target: target.into(),
        source: MountSource::Bind(source.to_path_buf()),
        read_only,
    };
    let script = "cat /ro/in; if echo x > /ro/new; then exit 9; fi; echo written > /rw/new; cat /etc/one-file; \
                  echo t > /scratch/t; grep -q ' /scratch tmpfs ' /proc/mounts; if touch /etc/new; then exit 8; fi";
    let mut spec = machine.sh("mounts", script);
    spec.mounts = vec![
        bind("/rw", &shared, false),
        bind("/ro", &shared, true),
        bind("/etc/one-file", &shared.join("in"), true),
        Mount {
            target: "/scratch".into(),
            source: MountSource::Tmpfs { size_bytes: Some(1 << 20) },
            read_only: false,
        },
    ];
    spec.read_only_rootfs = true;
    let (exit, out, err) = run(&machine, &spec).await;
    assert_eq!((exit.code, out.as_str()), (0, "from outsidefrom outside"), "{err}");
    assert!(err.contains("Read-only file system"), "{err}");
    assert_eq!(fs::read_to_string(shared.join("new")).unwrap(), "written\n");
}

#[tokio::test]
async fn the_inside_is_apart_from_the_machine() {
    let Some(machine) = Machine::new().await else { return };
    let script = "echo $$; ls /proc | grep -c '^[0-9]'; test -c /dev/null; echo x > /dev/null; test -e /dev/ptmx; \
                  test -d /dev/shm; readlink=$(ls -l /dev/stdout); \
                  if echo 1 > /proc/sys/kernel/dmesg_restrict; then exit 8; fi; \
                  test ! -s /proc/kcore || exit 9; ls /sys > /dev/null; cat /proc/self/status";
    let out = output(&machine, &machine.sh("apart", script)).await;
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("1"));
    assert!(lines.next().unwrap().parse::<u32>().unwrap() <= 3, "{out}");
    let line = |name: &str| out.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap();
    assert_eq!(line("CapEff:"), "00000000a80425fb", "containerd's default set");
    assert_eq!(line("CapInh:"), "0000000000000000");
    assert_eq!(line("SigBlk:"), "0000000000000000");

    let mut spec = machine.spec("none", &["cat", "/proc/self/status"]);
    spec.capabilities = Capabilities::none();
    spec.no_new_privs = true;
    let out = output(&machine, &spec).await;
    assert!(out.contains("CapEff:\t0000000000000000") && out.contains("CapBnd:\t0000000000000000"), "{out}");
    assert!(out.contains("NoNewPrivs:\t1"), "{out}");
}

#[tokio::test]
async fn only_standard_streams_are_open_inside() {
    let Some(machine) = Machine::new().await else { return };
    // Left open on purpose, as a shell might: without close-on-exec.
    let leaked = fs::File::open("/").unwrap();
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let out = output(&machine, &machine.sh("open", "ls -l /proc/self/fd")).await;
    drop(leaked);
    // The directory that `ls` itself read is listed too, and points at nothing by then.
    assert_eq!(out.lines().filter(|line| line.contains("->")).count(), 3, "{out}");
    assert!(out.contains("0 -> /dev/null"), "{out}");
}

#[tokio::test]
async fn signals_reach_the_program_and_kill_ends_everything() {
    let Some(machine) = Machine::new().await else { return };
    let script = "trap 'echo got it; exit 3' TERM; echo ready; while true; do sleep 0.01; done";
    let mut container = machine.runtime.start(&machine.sh("term", script)).await.unwrap();
    let mut lines = BufReader::new(container.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    container.kill(Signal::SIGTERM).unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("got it"));
    assert_eq!(container.wait().await.unwrap().code, 3);
    container.kill(Signal::SIGTERM).unwrap();
    container.delete().await.unwrap();

    let mut container =
        machine.runtime.start(&machine.sh("kill", "sleep 1000 & echo ready; wait")).await.unwrap();
    let mut lines = BufReader::new(container.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    container.kill(Signal::SIGKILL).unwrap();
    let exit = container.wait().await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    // The sleeper had the pipe open too.
    assert_eq!(lines.next_line().await.unwrap(), None);
    container.delete().await.unwrap();
    assert_no_mounts(&machine);
}

#[tokio::test]
async fn dropping_a_container_ends_it_and_the_sweep_removes_it() {
    let Some(machine) = Machine::new().await else { return };
    let mut container = machine.runtime.start(&machine.sh("drop", "echo ready; sleep 1000")).await.unwrap();
    let mut lines = BufReader::new(container.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    assert_eq!(machine.runtime.sweep().unwrap(), 0, "it runs");
    drop(container);
    // The pipe closes when the last process that has it is gone: the sleeper, the shell and the helper.
    assert_eq!(lines.next_line().await.unwrap(), None);
    assert_eq!(machine.runtime.sweep().unwrap(), 1);
    assert_eq!(fs::read_dir(machine.containers()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_container_ends_with_its_helper() {
    let Some(machine) = Machine::new().await else { return };
    let mut container = machine.runtime.start(&machine.sh("orphan", "echo ready; sleep 1000")).await.unwrap();
    let mut lines = BufReader::new(container.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    nix::sys::signal::kill(parent_of(container.pid()), Signal::SIGKILL).unwrap();
    assert_eq!(lines.next_line().await.unwrap(), None);
    let error = container.wait().await.unwrap_err().to_string();
    assert!(error.contains("`orphan` was lost"), "{error}");
    container.delete().await.unwrap();
}

fn parent_of(pid: i32) -> nix::unistd::Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    nix::unistd::Pid::from_raw(parent.trim().parse().unwrap())
}

#[tokio::test]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    let Some(machine) = Machine::new().await else { return };
    let missing_mount = {
        let mut spec = machine.spec("m", &["true"]);
        spec.mounts.push(Mount {
            target: "/x".into(),
            source: MountSource::Bind("/not/there".into()),
            read_only: false,
        });
        spec
    };
    let mut empty = machine.spec("e", &["true"]);
    empty.argv.clear();
    for (spec, wanted) in [
        (
            machine.spec("a", &["nothing-so-called"]),
            "`a`: nothing-so-called: not found in the container's PATH",
        ),
        (machine.spec("b", &["/bin/none"]), "`b`: /bin/none: there is no such file in the image"),
        (machine.spec("c", &["/etc/passwd"]), "`c`: /etc/passwd: is not executable"),
        (missing_mount, "cannot mount /not/there at /x: No such file or directory"),
        (empty, "names a program"),
        (machine.spec("../up", &["true"]), "`../up` cannot name a container"),
    ] {
        let error = machine.runtime.start(&spec).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        assert_eq!(fs::read_dir(machine.containers()).unwrap().count(), 0, "{error}");
    }
    let first = machine.runtime.start(&machine.spec("twice", &["sleep", "1000"])).await.unwrap();
    let error = machine.runtime.start(&machine.spec("twice", &["true"])).await.unwrap_err();
    assert!(matches!(error, ContainerError::Exists { .. }), "{error}");
    first.delete().await.unwrap();
}

#[tokio::test]
async fn a_network_can_be_apart_and_shared() {
    let Some(machine) = Machine::new().await else { return };
    let mut spec = machine.sh("net", "echo ready; sleep 1000");
    spec.network = Network::Isolated;
    let mut first = machine.runtime.start(&spec).await.unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    let inside = namespace_of(first.pid());
    assert_ne!(inside, fs::read_link("/proc/self/ns/net").unwrap());

    let mut spec = machine.sh(
        "joins",
        "cat /proc/net/dev /proc/net/fib_trie | grep -E 'lo:|127.0.0.1|eth' ; echo ready; sleep 1000",
    );
    spec.network = first.network();
    // Whoever made the network had another user.
    spec.user = User { uid: 1000, gid: 1000, groups: vec![], home: None };
    let mut second = machine.runtime.start(&spec).await.unwrap();
    let mut lines = BufReader::new(second.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap().filter(|line| line != "ready") {
        seen.push(line);
    }
    assert_eq!(namespace_of(second.pid()), inside);
    let seen = seen.join("\n");
    assert!(seen.contains("lo:") && seen.contains("127.0.0.1") && !seen.contains("eth"), "{seen}");
    second.delete().await.unwrap();
    first.delete().await.unwrap();
}

fn namespace_of(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
}

#[tokio::test]
async fn limits_are_held_or_it_is_said_that_they_are_not() {
    let Some(machine) = Machine::new().await else { return };
    // Ten megabytes in one variable, which is more than the limit.
    let mut spec = machine.sh("limits", "a=0123456789; while true; do a=$a$a; done");
    spec.limits = Limits { memory_bytes: Some(8 << 20), cpu_millis: Some(1000), pids: Some(20) };
    let container = machine.runtime.start(&spec).await.unwrap();
    if container.notes().is_empty() {
        let exit = container.wait().await.unwrap();
        assert_eq!((exit.signal, exit.oom_killed), (Some(9), true));
    } else {
        assert!(container.notes().iter().all(|note| note.contains("is not held")), "{:?}", container.notes());
    }
    container.delete().await.unwrap();
    assert!(!has_group(Path::new("/sys/fs/cgroup"), 0), "a group is left");
}

fn has_group(dir: &Path, depth: u32) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).any(|entry| {
        entry.file_name() == "ergon-limits" || (depth < 6 && has_group(&entry.path(), depth + 1))
    })
}

#[tokio::test]
async fn what_a_container_wrote_is_kept_for_another_one() {
    let Some(machine) = Machine::new().await else { return };
    let first = machine.runtime.start(&machine.sh("first", "echo mine > /etc/mine; exit 3")).await.unwrap();
    assert_eq!(first.wait().await.unwrap().code, 3);
    let upper = machine.temp.path().join("upper");
    if !first.keep(&upper).await.unwrap() {
        eprintln!("skipped: no overlay on this machine");
        return;
    }
    assert_eq!(fs::read_dir(machine.containers()).unwrap().count(), 0);
    for (id, seen) in [("second", "mine\n"), ("third", "mine\nsecond\n")] {
        let mut spec = machine.sh(id, &format!("cat /etc/mine; echo {id} >> /etc/mine"));
        spec.upper = Some(upper.clone());
        assert_eq!(output(&machine, &spec).await, seen);
    }
}

#[tokio::test]
async fn a_container_with_a_terminal_is_sat_at() {
    let Some(machine) = Machine::new().await else { return };
    let mut spec = machine.sh(
        "terminal",
        "test -t 0; test -t 1; test -t 2; : > /dev/tty; read line; echo \"<$line>\"; cat; true",
    );
    spec.terminal = true;
    let mut container = machine.runtime.start(&spec).await.unwrap();
    assert!(container.stdout.is_none() && container.stderr.is_none());
    let terminal = container.terminal.take().unwrap();
    let (mut from, mut to) = (terminal.try_clone().unwrap(), terminal);
    let (heard, hears) = tokio::sync::oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let (mut seen, mut bytes, mut heard) = (String::new(), [0; 256], Some(heard));
        // A terminal whose other side is closed gives an error.
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if seen.contains("<hello>")
                && let Some(heard) = heard.take()
            {
                let _ = heard.send(());
            }
        }
        seen
    });
    std::io::Write::write_all(&mut to, b"hello\n").unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(30), hears).await.unwrap().unwrap();
    let begun = std::time::Instant::now();
    // Ctrl-C ends `cat`, because the terminal is that of its session; the shell around it does not mind.
    let exit = loop {
        tokio::select! {
            exit = container.wait() => break exit.unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {
                assert!(begun.elapsed() < std::time::Duration::from_secs(30), "Ctrl-C does not end it");
                std::io::Write::write_all(&mut to, b"\x03").unwrap();
            }
        }
    };
    assert_ne!(exit.code, 0);
    container.delete().await.unwrap();
    drop(to);
    let seen = reading.await.unwrap();
    assert!(seen.contains("<hello>"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_containers_at_once() {
    let Some(machine) = Machine::new().await else { return };
    let started = (0..20).map(|number| {
        let spec = machine.sh(&format!("many-{number}"), &format!("echo {number}; exit {number}"));
        let runtime = machine.runtime.clone();
        tokio::spawn(async move {
            let mut container: Container = runtime.start(&spec).await.unwrap();
            let mut out = String::new();
            container.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
            let exit = container.wait().await.unwrap();
            container.delete().await.unwrap();
            (exit.code, out)
        })
    });
    for (number, task) in started.collect::<Vec<_>>().into_iter().enumerate() {
        let (code, out) = task.await.unwrap();
        assert_eq!((code, out), (i32::try_from(number).unwrap(), format!("{number}\n")));
    }
    assert_no_mounts(&machine);
}
