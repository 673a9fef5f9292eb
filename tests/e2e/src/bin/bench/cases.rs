//! What is measured.

use serde_json::Value;

use crate::shapes::{self, Fuse};

/// One shape of runs.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// How it is measured.
    pub kind: Kind,
}

/// How a case is measured.
pub enum Kind {
    /// How long it takes, against plain pods on the same node.
    Latency(Latency),
    /// How long nothing runs in between.
    Gap(Gap),
    /// How much of it there is in a second, on nodes that run nothing.
    Scale(Scale),
    /// How long the whole command takes on this machine, with no cluster.
    Local(Local),
}

/// A run with `ergon run`.
pub struct Local {
    /// Makes the run of this name.
    pub run: fn(&str) -> Value,
    /// How long it may take, in milliseconds.
    pub budget: f64,
}

/// Runs with many gaps.
pub struct Gap {
    /// Makes the run of this name.
    pub run: fn(&str) -> Value,
    /// Which gaps are measured.
    pub between: Between,
    /// How long 99 of 100 may be at most, in milliseconds.
    pub budget: f64,
}

/// What a gap is between.
#[derive(Debug, Clone, Copy)]
pub enum Between {
    /// The end of a step and the start of the next one in its pod.
    Steps,
    /// The end of a task and the start of the next one's first step, in whatever pods they are.
    Tasks,
    /// The end of a task's last step and the creation of the next task's pod, as a watch sees it.
    Pods,
}

/// Runs that are compared with plain pods.
pub struct Latency {
    /// Makes the objects of this name; all are runs, and are created at once.
    pub runs: fn(&str) -> Vec<Value>,
    /// How many plain pods are started at once for comparison.
    pub side_by_side: usize,
    /// How many times longer than the plain pods the runs may take.
    pub budget: Option<f64>,
    /// A long case is measured a third as often.
    pub is_long: bool,
}

impl Latency {
    /// How many times to measure it, when short cases are measured `times` times.
    pub fn repetitions(&self, times: usize) -> usize {
        if self.is_long { times.div_ceil(3) } else { times }
    }
}

/// Many tasks on fake nodes, which are done as soon as they are there: what is left is what the controller and the
/// cluster cost.
pub struct Scale {
    /// Makes the run of this name.
    pub run: fn(&str) -> Value,
    /// How many runs there are, created side by side.
    pub runs: usize,
    /// How many TaskRuns each comes to.
    pub tasks: usize,
    /// How many tasks in a second there should be at least.
    pub rate: Option<f64>,
    /// How large the controller may become, in MiB.
    pub memory: Option<f64>,
    /// How large a run may become, in bytes.
    pub largest: Option<usize>,
    /// How many legs a matrix may have meanwhile, where that is more than the default.
    pub legs: Option<usize>,
}

/// All cases, the shortest first.
pub const CASES: &[Case] = &[
    latency("one-step", "a TaskRun with one step", |name| vec![shapes::task_run(name, 1)]).budget(2.0),
    latency("five-steps", "a TaskRun with five steps", |name| vec![shapes::task_run(name, 5)]),
    latency("one-task", "a PipelineRun with one task", |name| vec![shapes::parallel(name, 1)]),
    latency("ten-parallel", "a PipelineRun with ten tasks side by side, against ten pods at once", |name| {
        vec![shapes::parallel(name, 10)]
    })
    .against(10)
    .budget(1.5),
    latency("burst-of-30", "30 TaskRuns created at once, against 30 pods at once", |name| {
        (0..30).map(|number| shapes::task_run(&format!("{name}-{number}"), 1)).collect()
    })
    .against(30)
    .long(),
    latency("ten-in-a-row", "ten tasks in a row, in as few pods as they get", |name| {
        vec![shapes::chain(name, 10, Fuse::Auto)]
    })
    .budget(8.0)
    .long(),
    latency("ten-in-a-row-container", "ten tasks in a row, in one container", |name| {
        vec![shapes::chain(name, 10, Fuse::Container)]
    })
    .budget(3.5)
    .long(),
    latency("ten-in-a-row-unfused", "ten tasks in a row, each in a pod of its own", |name| {
        vec![shapes::chain(name, 10, Fuse::Never)]
    })
    .budget(20.0)
    .long(),
    latency("ten-with-results", "ten tasks in a row, each with the result of the one before", |name| {
        vec![shapes::with_results(name, 10)]
    })
    .long(),
    latency("ten-with-pvc", "ten tasks in a row on one volume, claimed for the run", |name| {
        vec![shapes::with_volume(name, 10)]
    })
    .budget(9.0)
    .long(),
    latency("ci", "clone; lint and unit tests side by side; build; publish; finally a notice", |name| {
        vec![shapes::ci(name)]
    })
    .budget(6.0)
    .long(),
    Case {
        name: "step-to-step",
        about: "from the end of a step to the start of the next one, in a pod of twenty",
        kind: Kind::Gap(Gap {
            run: |name| shapes::task_run_after(name, 20, 8),
            between: Between::Steps,
            budget: 20.0,
        }),
    },
    Case {
        name: "task-to-task",
        about: "the same from task to task, of ten that share a pod",
        kind: Kind::Gap(Gap {
            run: |name| shapes::chain_after(name, 10, 6),
            between: Between::Steps,
            budget: 20.0,
        }),
    },
    Case {
        name: "task-to-pod",
        about: "from the end of a task to the creation of the next one's pod, of ten in a row",
        kind: Kind::Gap(Gap {
            run: |name| shapes::chain(name, 10, Fuse::Never),
            between: Between::Pods,
            budget: 50.0,
        }),
    },
    Case {
        name: "local-one-step",
        about: "`ergon run` of a TaskRun with one step, the whole command",
        kind: Kind::Local(Local { run: |name| shapes::task_run(name, 1), budget: 150.0 }),
    },
    Case {
        name: "local-ten-in-a-row",
        about: "`ergon run` of ten tasks in a row, the whole command",
        kind: Kind::Local(Local { run: |name| shapes::chain(name, 10, Fuse::Never), budget: 1000.0 }),
    },
    Case {
        name: "task-to-waiting-task",
        about: "from the end of a task to the start of the next one, whose pod was made before",
        kind: Kind::Gap(Gap {
            run: |name| shapes::chain_ahead(name, 6, 3),
            between: Between::Tasks,
            budget: 100.0,
        }),
    },
    scale("fake-100x3", "100 runs of three tasks in a row, a pod for each", 100, 3, |name| {
        shapes::on_fake_nodes(shapes::chain(name, 3, Fuse::Never))
    })
    .rate(60.0)
    .memory(40.0),
    scale(
        "fake-100x3-fused",
        "100 runs of three tasks in a row, in as few pods as they get",
        100,
        3,
        |name| shapes::on_fake_nodes(shapes::chain(name, 3, Fuse::Auto)),
    ),
    scale("fake-1000x3", "1,000 runs of three tasks in a row, a pod for each", 1000, 3, |name| {
        shapes::on_fake_nodes(shapes::chain(name, 3, Fuse::Never))
    })
    .rate(60.0),
    scale("fake-pipeline-500", "one run of 500 tasks: ten rows of fifty, a pod for each", 1, 500, |name| {
        shapes::on_fake_nodes(shapes::rows(name, 10, 50))
    }),
    scale("fake-matrix-256", "one run with a matrix of 16 times 16", 1, 256, |name| {
        shapes::on_fake_nodes(shapes::matrix(name, 16))
    }),
    scale("fake-matrix-10000", "one run with a matrix of 100 times 100", 1, 10_000, |name| {
        shapes::on_fake_nodes(shapes::matrix(name, 100))
    })
    .legs(10_000)
    .largest(300_000),
];

const fn latency(name: &'static str, about: &'static str, runs: fn(&str) -> Vec<Value>) -> Case {
    Case { name, about, kind: Kind::Latency(Latency { runs, side_by_side: 1, budget: None, is_long: false }) }
}

const fn scale(
    name: &'static str,
    about: &'static str,
    runs: usize,
    tasks: usize,
    run: fn(&str) -> Value,
) -> Case {
    Case {
        name,
        about,
        kind: Kind::Scale(Scale { run, runs, tasks, rate: None, memory: None, largest: None, legs: None }),
    }
}

impl Case {
    const fn against(mut self, pods: usize) -> Self {
        if let Kind::Latency(latency) = &mut self.kind {
            latency.side_by_side = pods;
        }
        self
    }

    const fn budget(mut self, ratio: f64) -> Self {
        if let Kind::Latency(latency) = &mut self.kind {
            latency.budget = Some(ratio);
        }
        self
    }

    const fn long(mut self) -> Self {
        if let Kind::Latency(latency) = &mut self.kind {
            latency.is_long = true;
        }
        self
    }

    const fn rate(mut self, tasks: f64) -> Self {
        if let Kind::Scale(scale) = &mut self.kind {
            scale.rate = Some(tasks);
        }
        self
    }

    const fn memory(mut self, mebibytes: f64) -> Self {
        if let Kind::Scale(scale) = &mut self.kind {
            scale.memory = Some(mebibytes);
        }
        self
    }

    const fn largest(mut self, bytes: usize) -> Self {
        if let Kind::Scale(scale) = &mut self.kind {
            scale.largest = Some(bytes);
        }
        self
    }

    const fn legs(mut self, legs: usize) -> Self {
        if let Kind::Scale(scale) = &mut self.kind {
            scale.legs = Some(legs);
        }
        self
    }

    /// Whether it needs nodes that run nothing.
    pub fn is_on_fake_nodes(&self) -> bool {
        matches!(self.kind, Kind::Scale(_))
    }
}
