//! Limits by control groups, of either version, where this system lets us make them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::error::{Doing, Failure};
use super::spec::Limits;

const ROOT: &str = "/sys/fs/cgroup";
/// The time for which a processor's share is counted, microseconds.
const PERIOD_US: u64 = 100_000;

/// The groups of one container: one directory, or one for each controller with version 1. None without limits.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the groups. What cannot be limited here is told in a note: a laptop without limits is better than none.
    pub fn create(id: &str, limits: Limits, notes: &mut Vec<String>) -> Self {
        let mut made = Self::default();
        if limits.is_empty() {
            return made;
        }
        let Ok(own) = fs::read_to_string("/proc/self/cgroup") else {
            notes.push("limits are not held: this system has no control groups".to_owned());
            return made;
        };
        let unified = Path::new(ROOT).join("cgroup.controllers").exists();
        let settings = settings(limits, unified);
        for (controller, files) in settings {
            let parents = parents(&own, controller, unified);
            if let Err(error) = made.set(&parents, id, (controller, unified), &files) {
                notes.push(format!("the limit of {controller} is not held: {error}"));
            }
        }
        made
    }

    fn set(
        &mut self,
        parents: &[PathBuf],
        id: &str,
        (controller, unified): (&str, bool),
        files: &[(&str, String)],
    ) -> io::Result<()> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for parent in parents {
            let dir = parent.join(format!("ergon-{id}"));
            let fresh = !self.dirs.contains(&dir);
            let written = (|| {
                if unified {
                    // Where it is delegated and nobody did so yet. If it cannot be, the files below are missing.
                    let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
                }
                if fresh {
                    fs::create_dir(&dir)?;
                }
                files.iter().try_for_each(|(file, value)| fs::write(dir.join(file), value))
            })();
            match written {
                Ok(()) => {
                    if fresh {
                        self.dirs.push(dir);
                    }
                    return Ok(());
                }
                Err(error) => {
                    if fresh {
                        let _ = fs::remove_dir(&dir);
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Puts the container's first process, and so all of them, into the groups.
    pub fn add(&self, pid: Pid) -> Result<(), Failure> {
        self.dirs.iter().try_for_each(|dir| {
            fs::write(dir.join("cgroup.procs"), pid.to_string())
                .doing(|| format!("put the container into {}", dir.display()))
        })
    }

    /// Whether the kernel ended a process for want of memory.
    pub fn oom_killed(&self) -> bool {
        self.dirs.iter().any(|dir| {
            ["memory.events", "memory.oom_control"].iter().any(|file| {
                fs::read_to_string(dir.join(file)).is_ok_and(|text| {
                    text.lines()
                        .filter_map(|line| line.strip_prefix("oom_kill "))
                        .any(|count| count.trim() != "0")
                })
            })
        })
    }

    pub fn remove(&self) {
        for dir in &self.dirs {
            // All processes are gone by now, since their namespace is.
            let _ = fs::remove_dir(dir);
        }
    }
}

type Files = Vec<(&'static str, String)>;

fn settings(limits: Limits, unified: bool) -> Vec<(&'static str, Files)> {
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        all.push(("memory", vec![(file, bytes.to_string())]));
    }
    if let Some(millis) = limits.cpu_millis {
        // The kernel refuses less than a millisecond.
        let quota = (millis.saturating_mul(PERIOD_US) / 1000).max(1000);
        let files = if unified {
            vec![("cpu.max", format!("{quota} {PERIOD_US}"))]
        } else {
            vec![("cpu.cfs_period_us", PERIOD_US.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
        };
        all.push(("cpu", files));
    }
    if let Some(pids) = limits.pids {
        all.push(("pids", vec![("pids.max", pids.to_string())]));
    }
    all
}

/// Where a group may be made: beside ours, or else inside of it.
/// With version 2 a group that has processes cannot give controllers to groups inside.
fn parents(own: &str, controller: &str, unified: bool) -> Vec<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let ours = if unified {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|name| name == controller)
        };
        ours.then_some(path)
    });
    let Some(path) = path else { return Vec::new() };
    let base = if unified { PathBuf::from(ROOT) } else { Path::new(ROOT).join(controller) };
    let inside = base.join(path.trim_start_matches('/'));
    match inside.parent().filter(|_| unified && path != "/") {
        Some(beside) => vec![beside.to_path_buf(), inside],
        None => vec![inside],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_where_the_version_allows() {
        let v1 = "4:memory:/user/me\n1:cpu,cpuacct:/\n0::/\n";
        let v2 = "0::/user.slice/app.slice/app-1.scope\n";
        for (own, controller, unified, wanted) in [
            (v1, "memory", false, vec!["/sys/fs/cgroup/memory/user/me"]),
            (v1, "cpu", false, vec!["/sys/fs/cgroup/cpu/"]),
            (v1, "pids", false, vec![]),
            (
                v2,
                "memory",
                true,
                vec![
                    "/sys/fs/cgroup/user.slice/app.slice",
                    "/sys/fs/cgroup/user.slice/app.slice/app-1.scope",
                ],
            ),
            ("0::/\n", "cpu", true, vec!["/sys/fs/cgroup/"]),
        ] {
            let wanted: Vec<PathBuf> = wanted.into_iter().map(PathBuf::from).collect();
            assert_eq!(parents(own, controller, unified), wanted, "{own} {controller}");
        }
    }

    #[test]
    fn limits_become_the_files_of_the_version() {
        let limits = Limits { memory_bytes: Some(1 << 20), cpu_millis: Some(1500), pids: Some(9) };
        let text = |unified| {
            let all = settings(limits, unified).into_iter().flat_map(|(_, files)| files);
            all.map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(true), "memory.max=1048576 cpu.max=150000 100000 pids.max=9");
        assert_eq!(
            text(false),
            "memory.limit_in_bytes=1048576 cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000 pids.max=9"
        );
    }
}
