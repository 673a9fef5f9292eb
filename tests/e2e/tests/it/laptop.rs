//! Runs on this machine: what is kept of them, parts of pipelines, and a terminal. No cluster has a part in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{Finished, ergon, root, run_program};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take that is waited for.
const LONGEST: Duration = Duration::from_mins(1);

/// A machine on which nothing was run yet.
struct Laptop {
    folder: PathBuf,
}

impl Laptop {
    /// None where these tests are left out.
    async fn new(name: &str) -> Result<Option<Self>> {
        if std::env::var("ERGON_E2E").is_ok_and(|value| value == "skip") {
            return Ok(None);
        }
        let folder = std::env::temp_dir().join(format!("ergon-laptop-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let laptop = Self { folder };
        let images = run_program(&root().join("tests/cluster/build"), &["images"], &[], "").await?.ok()?;
        laptop.ergon(&["images", "import", &format!("{}/busybox.tar", images.trim())]).await?.ok()?;
        Ok(Some(laptop))
    }

    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    async fn ergon(&self, arguments: &[&str]) -> Result<Finished> {
        let home = self.home();
        run_program(&ergon(), arguments, &[("ERGON_HOME", home.as_os_str())], "").await
    }

    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// No container, no mount and no program is left.
    fn ensure_clean(&self, program: &str) -> Result<()> {
        let containers = self.home().join("containers");
        let left: Vec<PathBuf> =
            std::fs::read_dir(containers)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        ensure!(left.is_empty(), "containers are left: {left:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(!mounts.contains(&*self.folder.to_string_lossy()), "mounts are left: {mounts}");
        ensure!(!is_running(program)?, "`{program}` is still running");
        Ok(())
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_running(program: &str) -> Result<bool> {
    Ok(std::fs::read_dir("/proc")?.flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim() == program
    }))
}

const FAILING: &str = r#"
apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: ci}
spec:
  workspaces: [{name: source}]
  tasks:
    - name: build
      taskSpec:
        results: [{name: version}]
        steps:
          - {name: make, image: "localhost/busybox:1", script: "printf 1.5 > {{results.version.path}}"}
    - name: test
      params: [{name: version, value: "{{tasks.build.results.version}}"}]
      workspaces: [{name: source}]
      taskSpec:
        params: [{name: version}]
        workspaces: [{name: source}]
        steps:
          - name: unit
            image: localhost/busybox:1
            env: [{name: SUITE, value: "unit tests"}]
            workingDir: "{{workspaces.source.path}}"
            script: |
              echo "testing $VERSION in $(pwd)"
              echo mine > /tmp/left-behind
              test -f fixed
          - {name: never, image: "localhost/busybox:1", script: "echo never"}
    - {name: deploy, runAfter: [test], taskSpec: {steps: [{name: d, image: "localhost/busybox:1", script: "echo deployed"}]}}
    - {name: lint, taskSpec: {steps: [{name: l, image: "localhost/busybox:1", script: "echo linted"}]}}
"#;

#[tokio::test]
async fn a_failed_step_can_be_looked_into_and_run_again() -> Result<()> {
    let Some(laptop) = Laptop::new("shell").await? else { return Ok(()) };
    let pipeline = laptop.file("ci.yaml", &FAILING.replace("$VERSION", "{{params.version}}"))?;
    let source = laptop.folder.join("source");
    std::fs::create_dir(&source)?;
    // The step is another user than root.
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o777))?;
    let binding = format!("source={}", source.display());
    let failed = laptop.ergon(&["run", &pipeline, "-w", &binding]).await?;
    ensure!(failed.code == Some(1), "{failed:?}");
    ensure!(failed.stderr.contains("`ergon shell` opens a shell where it failed"), "{}", failed.stderr);
    laptop.ensure_clean("none")?;

    // Its files as it left them, its variables, its folder.
    let look = ["shell", "--", "sh", "-c", "cat /tmp/left-behind; echo $SUITE; pwd; touch from-shell"];
    let seen = laptop.ergon(&look).await?.ok()?;
    ensure!(seen.starts_with("mine\nunit tests\n/"), "{seen}");
    ensure!(source.join("from-shell").exists(), "the workspace is not that of the step");
    laptop.ergon(&["shell", "--", "sh", "-c", "echo more >> /tmp/left-behind"]).await?.ok()?;
    let seen = laptop.ergon(&["shell", "test/unit", "--", "cat", "/tmp/left-behind"]).await?.ok()?;
    ensure!(seen == "mine\nmore\n", "{seen}");
    let wrong = laptop.ergon(&["shell", "test/none", "--", "true"]).await?;
    ensure!(wrong.code == Some(4) && wrong.stderr.contains("there is no run `test/none`"), "{wrong:?}");
    let without = laptop.ergon(&["shell"]).await?;
    ensure!(without.code == Some(2) && without.stderr.contains("no terminal"), "{without:?}");

    let again = laptop.ergon(&["replay"]).await?;
    ensure!(again.code == Some(1), "{again:?}");
    ensure!(again.stdout.contains("testing 1.5 in /"), "{again:?}");
    std::fs::write(source.join("fixed"), "")?;
    let again = laptop.ergon(&["replay", "ci", "test/unit"]).await?;
    ensure!(again.code == Some(0) && again.stderr.contains("Succeeded"), "{again:?}");
    laptop.ensure_clean("none")?;

    let runs: Value = serde_json::from_str(&laptop.ergon(&["runs", "list", "-o", "json"]).await?.ok()?)?;
    ensure!(runs[0]["status"] == "failed" && runs[0]["whole"] == true, "{runs}");
    // A run that succeeds leaves its record alone, and takes nothing from the one that failed.
    laptop.ergon(&["run", &pipeline, "-w", &binding]).await?.ok()?;
    let runs: Value = serde_json::from_str(&laptop.ergon(&["runs", "list", "-o", "json"]).await?.ok()?)?;
    ensure!(runs[0]["whole"] == false && runs[1]["whole"] == true, "{runs}");
    let of_record = laptop.ergon(&["shell", "ci", "test/unit", "--", "true"]).await?;
    ensure!(of_record.stderr.contains("only the record of run"), "{of_record:?}");
    laptop.ergon(&["runs", "prune"]).await?.ok()?;
    ensure!(std::fs::read_dir(laptop.home().join("runs"))?.count() == 0, "runs are left");
    Ok(())
}

/// What became of each task, by the events of a run.
fn fates(stdout: &str) -> Result<String> {
    let mut fates = Vec::new();
    for line in stdout.lines() {
        let event: Value = serde_json::from_str(line)?;
        let task = event["task"].as_str().unwrap_or_default();
        match event["event"].as_str() {
            Some("taskEnded") => {
                fates.push(format!("{task}: {}", event["status"].as_str().unwrap_or_default()));
            }
            Some("skipped") => fates.push(format!("{task}: skipped")),
            Some("reused") => fates.push(format!("{task}: reused")),
            _ => {}
        }
    }
    fates.sort();
    Ok(fates.join(", "))
}

#[tokio::test]
async fn a_part_of_a_pipeline_takes_the_rest_from_an_earlier_run() -> Result<()> {
    let Some(laptop) = Laptop::new("part").await? else { return Ok(()) };
    let pipeline = laptop.file("ci.yaml", &FAILING.replace("$VERSION", "{{params.version}}"))?;
    let source = laptop.folder.join("source");
    std::fs::create_dir(&source)?;
    let binding = format!("source={}", source.display());
    let run = async |more: &[&str]| {
        laptop.ergon(&[&["run", &pipeline, "-w", &binding, "-o", "json"][..], more].concat()).await
    };
    let none = run(&["--from", "test"]).await?;
    ensure!(none.code == Some(4), "{none:?}");
    ensure!(
        none.stderr.contains("needs the results of `build`") && none.stderr.contains("no earlier run"),
        "{none:?}"
    );

    let until = run(&["--until", "build"]).await?;
    ensure!(
        fates(&until.stdout)? == "build: succeeded, deploy: skipped, lint: skipped, test: skipped",
        "{until:?}"
    );
    ensure!(until.code == Some(0), "{until:?}");

    let from = run(&["--from", "test"]).await?;
    ensure!(from.code == Some(1), "{from:?}");
    ensure!(from.stdout.contains("testing 1.5"), "{from:?}");
    let fate = fates(&from.stdout)?;
    ensure!(fate == "build: reused, deploy: skipped, lint: skipped, test: failed", "{fate}: {from:?}");

    std::fs::write(source.join("fixed"), "")?;
    let plan = run(&["--from", "test", "--until", "test", "--dry-run"]).await?.ok()?;
    ensure!(plan.contains("deploy  left out") && plan.contains("build   from run"), "{plan}");
    let both = run(&["--from", "test", "--until", "test"]).await?;
    let fate = fates(&both.stdout)?;
    ensure!(fate == "build: reused, deploy: skipped, lint: skipped, test: succeeded", "{fate}: {both:?}");
    ensure!(both.code == Some(0), "{both:?}");
    let wrong = run(&["--from", "nothing"]).await?;
    ensure!(wrong.code == Some(4) && wrong.stderr.contains("the pipeline has no such task"), "{wrong:?}");
    Ok(())
}

/// A program at a terminal of its own.
struct Seat {
    child: Child,
    keys: File,
    seen: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Seat {
    fn new(arguments: &[&OsStr], home: &Path, columns: u16) -> Result<Self> {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None)?;
        let end = |fd: &OwnedFd| Ok::<_, std::io::Error>(Stdio::from(fd.try_clone()?));
        // `setsid --ctty` makes it the terminal of a session, so that its keys are signals.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(ergon())
            .args(arguments)
            .env("ERGON_HOME", home)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(end(&terminal.slave)?)
            .stdout(end(&terminal.slave)?)
            .stderr(end(&terminal.slave)?)
            .spawn()
            .context("`setsid` of util-linux")?;
        drop(terminal.slave);
        let seen: std::sync::Arc<std::sync::Mutex<String>> = std::sync::Arc::default();
        let mut reading = File::from(terminal.master.try_clone()?);
        let to = std::sync::Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                to.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { child, keys: File::from(terminal.master), seen })
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// What was shown so far does not matter any more.
    fn forget(&self) {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    async fn until(&self, text: &str) -> Result<()> {
        let begun = Instant::now();
        while !self.seen().contains(text) {
            ensure!(begun.elapsed() < LONGEST, "`{text}` was never shown: {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    async fn end(&mut self) -> Result<Option<i32>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            ensure!(begun.elapsed() < LONGEST, "it does not end: {:?}", self.seen());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SLOW: &str = r#"
apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: slow}
spec:
  tasks:
    - name: a-task-with-a-name-that-is-longer-than-the-terminal-is-wide
      taskSpec:
        steps: [{name: wait, image: "localhost/busybox:1", script: "echo under way; exec sleep SECONDS"}]
  finally:
    - {name: tidy, taskSpec: {steps: [{name: up, image: "localhost/busybox:1", script: "echo tidied"}]}}
"#;

#[tokio::test]
async fn a_change_runs_again_what_it_affects() -> Result<()> {
    let Some(laptop) = Laptop::new("watch").await? else { return Ok(()) };
    let pipeline = laptop.file("ci.yaml", &FAILING.replace("$VERSION", "{{params.version}}"))?;
    let source = laptop.folder.join("source");
    std::fs::create_dir(&source)?;
    let binding = format!("source={}", source.display());
    let arguments = ["run", &pipeline, "-w", &binding, "--watch"].map(OsStr::new);
    let mut seat = Seat::new(&arguments, &laptop.home(), 100)?;
    seat.until("waiting for a change").await?;
    ensure!(seat.seen().contains("testing 1.5"), "{:?}", seat.seen());
    seat.forget();
    // What the failed step looks for: it runs again, and what waits for it.
    std::fs::write(source.join("fixed"), "")?;
    seat.until("waiting for a change").await?;
    let seen = seat.seen();
    for text in ["fixed changed", "testing 1.5", "deployed", "from an earlier run"] {
        ensure!(seen.contains(text), "no `{text}`: {seen:?}");
    }
    ensure!(!seen.contains("linted"), "{seen:?}");
    seat.press("\u{3}")?;
    ensure!(seat.end().await? == Some(0), "{:?}", seat.seen());
    laptop.ensure_clean("none")
}

/// How long each line of a text is, escape sequences aside.
fn widths(text: &str) -> impl Iterator<Item = usize> {
    text.split(['\n', '\r']).map(|line| {
        let mut width = 0;
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            if character == '\u{1b}' {
                characters.by_ref().find(char::is_ascii_alphabetic);
            } else {
                width += 1;
            }
        }
        width
    })
}

#[tokio::test]
async fn at_a_terminal_there_is_a_tree_and_ctrl_c_cancels() -> Result<()> {
    let Some(laptop) = Laptop::new("terminal").await? else { return Ok(()) };
    let seconds = format!("54321.{}", std::process::id());
    let pipeline = laptop.file("slow.yaml", &SLOW.replace("SECONDS", &seconds))?;
    let columns = 40;
    let mut seat = Seat::new(&["run".as_ref(), pipeline.as_ref()], &laptop.home(), columns)?;
    seat.until("under way").await?;
    seat.until("wait").await?;
    // A spinner and a time, which change.
    let before = seat.seen().len();
    seat.until("wait  \u{1b}[2m1s").await?;
    ensure!(seat.seen().len() > before && seat.seen().contains('…'), "{:?}", seat.seen());
    let tree = seat.seen();
    let drawn = tree.split("\u{1b}[J").skip(1).filter_map(|frame| frame.split('\u{1b}').next());
    ensure!(drawn.flat_map(widths).all(|width| width <= usize::from(columns)), "{tree:?}");
    seat.press("\u{3}")?;
    seat.until("tidied").await?;
    let code = seat.end().await?;
    ensure!(code == Some(1) && seat.seen().contains("Cancelled"), "exit code {code:?}: {:?}", seat.seen());
    laptop.ensure_clean(&format!("sleep {seconds}"))
}

#[tokio::test]
async fn a_second_ctrl_c_ends_everything_and_so_does_a_terminal_that_is_closed() -> Result<()> {
    let Some(laptop) = Laptop::new("ending").await? else { return Ok(()) };
    let seconds = format!("65432.{}", std::process::id());
    let slow = SLOW.replace("SECONDS", &seconds).replace("echo tidied", &format!("exec sleep {seconds}"));
    let pipeline = laptop.file("slow.yaml", &slow)?;
    let mut seat = Seat::new(&["run".as_ref(), pipeline.as_ref()], &laptop.home(), 80)?;
    seat.until("under way").await?;
    seat.press("\u{3}")?;
    // Now the final task runs.
    seat.until("tidy").await?;
    seat.until("up").await?;
    seat.press("\u{3}")?;
    seat.until("ending everything").await?;
    ensure!(seat.end().await? == Some(1), "{:?}", seat.seen());
    laptop.ensure_clean(&format!("sleep {seconds}"))?;

    let mut seat = Seat::new(&["run".as_ref(), pipeline.as_ref()], &laptop.home(), 80)?;
    seat.until("under way").await?;
    // As the kernel does when a terminal goes.
    kill(Pid::from_raw(i32::try_from(seat.child.id())?), Signal::SIGHUP)?;
    ensure!(seat.end().await? == Some(1), "{:?}", seat.seen());
    laptop.ensure_clean(&format!("sleep {seconds}"))
}

#[tokio::test]
async fn a_shell_has_the_terminal() -> Result<()> {
    let Some(laptop) = Laptop::new("sit").await? else { return Ok(()) };
    let task = "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{name: s, image: \"localhost/busybox:1\", script: \"echo mine > /tmp/left; exit 3\"}]}\n";
    let task = laptop.file("t.yaml", task)?;
    ensure!(laptop.ergon(&["run", &task]).await?.code == Some(1), "the step should fail");
    let mut seat = Seat::new(&["shell".as_ref()], &laptop.home(), 100)?;
    seat.until("in step `t/s`").await?;
    // Computed, so that it is not the echo of what was typed.
    seat.press("stty size; cat /tmp/left; echo $((40 + 2))$((1 + 1))\r")?;
    seat.until("422").await?;
    ensure!(seat.seen().contains("24 100") && seat.seen().contains("mine"), "{:?}", seat.seen());
    // Ctrl-C ends what runs in the shell, not the shell.
    seat.press("sleep 76543\r")?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    seat.press("\u{3}")?;
    seat.press("echo $((50 + 5))5\r")?;
    seat.until("555").await?;
    seat.press("exit\r")?;
    ensure!(seat.end().await? == Some(0), "{:?}", seat.seen());
    laptop.ensure_clean("sleep 76543")
}

#[tokio::test]
async fn where_namespaces_are_forbidden_it_says_what_to_do() -> Result<()> {
    let Some(laptop) = Laptop::new("forbidden").await? else { return Ok(()) };
    let task = "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{name: s, image: \"localhost/busybox:1\", script: \"true\"}]}\n";
    let task = laptop.file("t.yaml", task)?;
    // Root of a user namespace that may have no other one inside, and without its rights.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all \"$@\"";
    let program = ergon().display().to_string();
    let arguments = ["--user", "--map-root-user", "sh", "-c", script, "sh", &program, "run", &task];
    let home = laptop.home();
    let said = run_program(Path::new("unshare"), &arguments, &[("ERGON_HOME", home.as_os_str())], "").await?;
    if said.stderr.contains("unshare: ") || said.stderr.contains("max_user_namespaces: ") {
        eprintln!("skipped: {}", said.stderr);
        return Ok(());
    }
    ensure!(said.code == Some(1), "{said:?}");
    let wanted = [
        "cannot make a user namespace: this system allows no more of them",
        "CAP_SYS_ADMIN",
        "start the outer container with",
    ];
    ensure!(wanted.iter().all(|text| said.stdout.contains(text)), "{said:?}");
    laptop.ensure_clean("none")
}
