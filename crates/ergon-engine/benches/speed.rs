//! What deciding costs where pipelines are large: `cargo bench -p ergon-engine`.
//!
//! Of a run of 1,000 tasks a decision takes less than a millisecond where the shell keeps its plan, and a pipeline of 500
//! is validated in less than 50 ms.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has failed")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ergon_api::{Config, Group, Pipeline, PipelineRun, SetDefaults as _, TaskRun, Validate as _};
use ergon_engine::expr::{Scope, expand};
use ergon_engine::graph::Graph;
use ergon_engine::run::{Children, Observed, Plan, reconcile};
use ergon_engine::{Library, Outcome};
use jiff::Timestamp;
use serde_json::{Value, json};

/// So many tasks stand side by side in the pipelines below; each waits for one or two of the row before.
const WIDTH: usize = 20;

/// A pipeline's spec of `count` tasks: parameters, results, conditions, order, and here and there a matrix.
fn spec(count: usize) -> Value {
    let task = |at: usize| {
        let mut task = json!({
            "name": format!("task-{at}"),
            "taskSpec": {
                "params": [{"name": "text"}, {"name": "from", "default": ""}],
                "results": [{"name": "out"}],
                "steps": [{
                    "name": "only", "image": "$(params.text)/image",
                    "env": [{"name": "FROM", "value": "$(params.from)"}],
                    "script": "#!/bin/sh\necho \"$(params.text) $(context.taskRun.name)\" > $(results.out.path)\n"
                }]
            },
            "params": [{"name": "text", "value": "$(params.registry)/a"}]
        });
        if at % 50 == 49 {
            task["matrix"] = json!({"params": [{"name": "from", "value": ["a", "b", "c"]}]});
        } else if at >= WIDTH {
            // The one above, unless that is fanned out.
            let above = at - WIDTH - usize::from((at - WIDTH) % 50 == 49);
            let value = format!("$(tasks.task-{above}.results.out)");
            task["params"].as_array_mut().unwrap().push(json!({"name": "from", "value": value}));
        }
        if at >= WIDTH && at.is_multiple_of(3) {
            task["runAfter"] = json!([format!("task-{}", at - WIDTH)]);
        }
        if at.is_multiple_of(7) {
            task["when"] =
                json!([{"input": "$(params.registry)", "operator": "in", "values": ["registry", "other"]}]);
        }
        task
    };
    json!({
        "params": [{"name": "registry", "type": "string", "default": "registry"}],
        "tasks": (0..count).map(task).collect::<Vec<_>>(),
        "finally": [{"name": "last", "taskSpec": {
            "params": [{"name": "how"}], "steps": [{"image": "i", "script": "echo $(params.how)"}]
        }, "params": [{"name": "how", "value": "$(tasks.status)"}]}],
        "results": [{"name": "all", "value": "$(tasks.task-0.results.out)"}]
    })
}

fn validation(criterion: &mut Criterion) {
    let config = Config::default();
    for group in Group::ALL {
        let pipeline: Pipeline = serde_json::from_value(json!({
            "apiVersion": group.api_version(), "kind": "Pipeline",
            "metadata": {"name": "large"}, "spec": spec(500)
        }))
        .unwrap();
        criterion.bench_function(&format!("validate a pipeline of 500 tasks, {}", group.name()), |bench| {
            bench.iter_batched(
                || pipeline.clone(),
                |mut pipeline| {
                    pipeline.set_defaults(group, &config);
                    assert_eq!(pipeline.validate(&config), []);
                    pipeline
                },
                BatchSize::LargeInput,
            );
        });
    }
}

fn graph(criterion: &mut Criterion) {
    let pipeline: Pipeline = serde_json::from_value(json!({"metadata": {}, "spec": spec(1000)})).unwrap();
    criterion.bench_function("build the graph of 1000 tasks", |bench| {
        bench.iter(|| Graph::build(black_box(&pipeline.spec.tasks)).unwrap());
    });
}

fn substitution(criterion: &mut Criterion) {
    let mut scope = Scope::default();
    for at in 0..100 {
        scope.set(&["params", &format!("name-{at}")], "a value");
    }
    let text = "a line with $(params.name-7), $(date) and $(params.name-93)\n".repeat(1000);
    criterion.bench_function("replace 2000 references in a text", |bench| {
        bench.iter(|| expand(black_box(&text), &scope));
    });
}

/// A run that is under way: the first half of its tasks is done.
struct World {
    run: PipelineRun,
    children: Vec<TaskRun>,
    config: Config,
    library: Library,
}

impl World {
    fn new(count: usize) -> Self {
        let mut run: PipelineRun = serde_json::from_value(json!({
            "apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
            "metadata": {"name": "large", "namespace": "default", "uid": "u"},
            "spec": {"pipelineSpec": spec(count)}
        }))
        .unwrap();
        let config = Config::default();
        run.set_defaults(Group::Tekton, &config);
        let mut world = Self { run, children: Vec::new(), config, library: Library::default() };
        while world.children.len() < count / 2 {
            let Outcome::Decided(decision) = world.reconcile(None) else { panic!("nothing to look up") };
            let before = world.children.len();
            for action in decision.actions {
                if let ergon_engine::Action::CreateTaskRun(made) = action {
                    let mut made = *made;
                    made.status = serde_json::from_value(json!({
                        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded"}],
                        "results": [{"name": "out", "type": "string", "value": "a result"}]
                    }))
                    .unwrap();
                    world.children.push(made);
                }
            }
            assert!(world.children.len() > before, "nothing more starts");
            world.run.status = Some(decision.status);
        }
        // The row that waits for the last that ended runs already.
        let Outcome::Decided(decision) = world.reconcile(None) else { panic!("nothing to look up") };
        for action in decision.actions {
            if let ergon_engine::Action::CreateTaskRun(made) = action {
                world.children.push(*made);
            }
        }
        world.run.status = Some(decision.status);
        world
    }

    /// A plan of the spec in the status, as a shell keeps it.
    fn plan(&self) -> Arc<Plan> {
        let spec = self.run.status.as_ref().unwrap().pipeline_spec.as_ref().unwrap();
        Arc::new(Plan::of(Arc::clone(spec)).unwrap())
    }

    fn reconcile(&self, plan: Option<&Arc<Plan>>) -> Outcome<ergon_api::PipelineRunStatus> {
        let task_runs: Vec<&TaskRun> = self.children.iter().collect();
        let observed = Observed {
            group: Group::Tekton,
            run: &self.run,
            children: Children { task_runs: &task_runs, ..Children::default() },
            ancestors: &[],
            library: &self.library,
            config: &self.config,
            plan,
            sharing: None,
        };
        reconcile(&observed, Timestamp::UNIX_EPOCH)
    }
}

fn reconciling(criterion: &mut Criterion) {
    for count in [250, 500, 1000] {
        let world = World::new(count);
        let Outcome::Decided(decision) = world.reconcile(None) else { panic!("nothing to look up") };
        assert_eq!(decision.actions, [], "nothing is left to do");
        assert_eq!(Some(decision.status), world.run.status);
        criterion.bench_function(&format!("reconcile a run of {count} tasks, half done"), |bench| {
            bench.iter(|| world.reconcile(None));
        });
        let plan = world.plan();
        criterion.bench_function(
            &format!("reconcile a run of {count} tasks, half done, with its plan"),
            |bench| {
                bench.iter(|| world.reconcile(Some(&plan)));
            },
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = validation, graph, substitution, reconciling
}
criterion_main!(benches);
