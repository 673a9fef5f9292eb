//! Pipelines: their tasks, and what flows between them. Cycles are found in `ergon-engine`, which has the graph.

use super::scope::{Scope, declared, each_variable};
use super::{Errors, params, references, step, task};
use crate::variables::{Part, Variable, variables};
use crate::{Matrix, PipelineSpec, PipelineTask};

/// Checks a Pipeline. `outer` is what the run around it declares.
pub(super) fn check(errors: &mut Errors, path: &str, spec: &PipelineSpec, outer: &Scope) {
    if spec.tasks.is_empty() {
        let message = if spec.finally.is_empty() {
            "missing field `tasks`".to_owned()
        } else {
            format!("there are {} final tasks and no tasks before them", spec.finally.len())
        };
        errors.add_with_help(format!("{path}.tasks"), message, "a Pipeline has at least one task");
    }
    params::check_specs(errors, &format!("{path}.params"), &spec.params);
    let workspaces = format!("{path}.workspaces");
    errors.unique(&workspaces, "workspace", spec.workspaces.iter().map(|workspace| workspace.name.as_str()));
    for (index, workspace) in spec.workspaces.iter().enumerate() {
        if workspace.name.is_empty() {
            errors.missing(&format!("{workspaces}[{index}]"), "name");
        }
    }
    let mut scope = outer.clone();
    scope.declare(&spec.params);
    scope.provide(spec.workspaces.iter().map(|workspace| workspace.name.as_str()));

    check_names(errors, path, spec);
    for (list, tasks, is_final) in [("tasks", &spec.tasks, false), ("finally", &spec.finally, true)] {
        for (index, task) in tasks.iter().enumerate() {
            let place = Place { spec, scope: &scope, task, is_final };
            place.check(errors, &format!("{path}.{list}[{index}]"));
        }
    }
    check_results(errors, path, spec);
}

/// Task names are unique over `tasks` and `finally` together: they name runs, results and variables.
fn check_names(errors: &mut Errors, path: &str, spec: &PipelineSpec) {
    let mut seen = std::collections::BTreeMap::new();
    for (list, tasks) in [("tasks", &spec.tasks), ("finally", &spec.finally)] {
        for (index, task) in tasks.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            task::check_label(errors, &path, &task.name);
            if let Some(first) = seen.get(task.name.as_str()) {
                errors.add(
                    format!("{path}.name"),
                    format!("task `{}` is already declared as {first}", task.name),
                );
            } else if !task.name.is_empty() {
                seen.insert(task.name.as_str(), path);
            }
        }
    }
}

/// One task and all that it can refer to.
struct Place<'a> {
    spec: &'a PipelineSpec,
    scope: &'a Scope,
    task: &'a PipelineTask,
    is_final: bool,
}

impl Place<'_> {
    fn check(&self, errors: &mut Errors, path: &str) {
        let task = self.task;
        self.check_work(errors, path);
        self.check_order(errors, path);
        self.check_workspaces(errors, path);
        params::check_values(errors, &format!("{path}.params"), &task.params);
        references::check_when(errors, &format!("{path}.when"), &task.when);
        step::check_on_error(errors, path, task.on_error.as_deref());
        if task.retries.is_some_and(|retries| retries < 0) {
            errors.add(format!("{path}.retries"), "retries cannot be negative");
        }
        if task.continues_on_error() && task.retries.is_some_and(|retries| retries > 0) {
            errors.add_with_help(
                format!("{path}.onError"),
                "onError cannot be `continue` when there are retries",
                "remove one of `onError` and `retries`",
            );
        }
        if task.timeout.is_some_and(crate::Duration::is_negative) {
            errors.add(format!("{path}.timeout"), "a timeout cannot be negative");
        }
        if let Some(matrix) = &task.matrix {
            self.check_matrix(errors, &format!("{path}.matrix"), matrix);
        }
        // What is written out inside has scopes of its own, and is checked with them.
        let outside = PipelineTask { task_spec: None, pipeline_spec: None, ..task.clone() };
        each_variable(path, &outside, |path, variable| {
            if !self.scope.check(errors, path, variable) {
                self.check_variable(errors, path, variable);
            }
        });
    }

    /// What the task runs: exactly one thing, and a valid one.
    fn check_work(&self, errors: &mut Errors, path: &str) {
        let task = self.task;
        errors.exactly_one(
            path,
            &[
                ("taskRef", task.task_ref.is_some()),
                ("taskSpec", task.task_spec.is_some()),
                ("pipelineRef", task.pipeline_ref.is_some()),
                ("pipelineSpec", task.pipeline_spec.is_some()),
            ],
        );
        if let Some(task_ref) = &task.task_ref {
            references::check_task_ref(errors, &format!("{path}.taskRef"), task_ref);
        }
        if let Some(pipeline_ref) = &task.pipeline_ref {
            references::check_pipeline_ref(errors, &format!("{path}.pipelineRef"), pipeline_ref);
        }
        if let Some(pipeline) = &task.pipeline_spec {
            check(errors, &format!("{path}.pipelineSpec"), pipeline, &self.inner_scope());
        }
        if let Some(embedded) = &task.task_spec {
            let path = format!("{path}.taskSpec");
            if !embedded.task.steps.is_empty() {
                for (field, is_set) in
                    [("apiVersion", embedded.api_version.is_some()), ("kind", embedded.kind.is_some())]
                {
                    if is_set {
                        errors.add(format!("{path}.{field}"), format!("{field} cannot be used with `steps`"));
                    }
                }
            }
            if embedded.api_version.is_some() && embedded.kind.is_none() {
                errors.add(format!("{path}.kind"), "a custom task needs `kind` as well");
            } else if embedded.kind.is_some()
                && embedded.api_version.is_none()
                && embedded.task.steps.is_empty()
            {
                errors.add(format!("{path}.apiVersion"), "a custom task needs `apiVersion` as well");
            } else if !embedded.is_custom_task() {
                task::check(errors, &path, &embedded.task, &self.inner_scope());
                each_variable(&format!("{path}.steps"), &embedded.task.steps, |path, variable| {
                    if variable.path[0] == "tasks" {
                        self.check_variable(errors, path, variable);
                    }
                });
            }
        }
    }

    /// What a Task or Pipeline written out here can use: all that the Pipeline can, and what is set for it.
    fn inner_scope(&self) -> Scope {
        let mut scope = self.scope.clone();
        scope.set(&self.task.params);
        if let Some(matrix) = &self.task.matrix {
            // Each run gets one of the values.
            let single = |params: &[crate::Param]| {
                params.iter().map(|param| crate::Param::string(&param.name, "")).collect::<Vec<_>>()
            };
            scope.set(&single(&matrix.params));
            matrix.include.iter().for_each(|include| scope.set(&single(&include.params)));
        }
        scope.provide(self.task.workspaces.iter().map(|workspace| workspace.name.as_str()));
        scope
    }

    fn check_order(&self, errors: &mut Errors, path: &str) {
        let path = format!("{path}.runAfter");
        if self.is_final && !self.task.run_after.is_empty() {
            errors.add_with_help(
                path,
                "a final task has no runAfter",
                "final tasks run side by side, after all others",
            );
            return;
        }
        for (index, name) in self.task.run_after.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if *name == self.task.name {
                errors.add(path, format!("task `{name}` waits for itself"));
            } else if self.spec.finally.iter().any(|task| task.name == *name) {
                errors.add(path, format!("task `{name}` is a final task, which runs after this one"));
            } else if !self.spec.tasks.iter().any(|task| task.name == *name) {
                errors.add_with_help(
                    path,
                    format!("task `{name}` is not in the Pipeline"),
                    declared("tasks", name, self.spec.tasks.iter().map(|task| task.name.as_str())),
                );
            }
        }
    }

    fn check_workspaces(&self, errors: &mut Errors, path: &str) {
        let path = format!("{path}.workspaces");
        errors.unique(
            &path,
            "workspace",
            self.task.workspaces.iter().map(|workspace| workspace.name.as_str()),
        );
        for (index, binding) in self.task.workspaces.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if binding.name.is_empty() {
                errors.missing(&path, "name");
            }
            let (field, wanted) = match &binding.workspace {
                Some(workspace) => ("workspace", workspace),
                None => ("name", &binding.name),
            };
            if !wanted.is_empty() && !self.scope.has_workspace(wanted) {
                errors.add_with_help(
                    format!("{path}.{field}"),
                    format!("workspace `{wanted}` is not declared by the Pipeline"),
                    self.scope.workspace_help(wanted),
                );
            }
        }
    }

    /// A matrix fans out over lists of texts, and sets nothing that `params` sets.
    fn check_matrix(&self, errors: &mut Errors, path: &str, matrix: &Matrix) {
        if self.task.is_pipeline() {
            errors.add(path, "a matrix cannot fan out over a Pipeline");
        }
        let params_path = format!("{path}.params");
        params::check_values(errors, &params_path, &matrix.params);
        let mut combinations = 1_usize;
        for (index, param) in matrix.params.iter().enumerate() {
            let path = format!("{params_path}[{index}].value");
            if let Some(items) = param.value.as_array() {
                combinations = combinations.saturating_mul(items.len().max(1));
            } else if !param.value.as_str().is_some_and(|text| variables(text).iter().any(|v| v.is_alone)) {
                errors.add_with_help(
                    path,
                    format!("parameter `{}` of a matrix is not an array", param.name),
                    "write a list of texts, or a whole array as in `$(params.list[*])`",
                );
            }
        }
        let most = usize::try_from(errors.config.defaults.max_matrix_combinations).unwrap_or(usize::MAX);
        if combinations.saturating_add(matrix.include.len()) > most && !matrix.params.is_empty() {
            errors.add(
                params_path.as_str(),
                format!("the matrix has {combinations} combinations, at most {most} are allowed"),
            );
        }
        for (index, include) in matrix.include.iter().enumerate() {
            let path = format!("{path}.include[{index}].params");
            params::check_values(errors, &path, &include.params);
            for (index, param) in include.params.iter().enumerate() {
                if param.value.as_str().is_none() {
                    errors.add(
                        format!("{path}[{index}].value"),
                        format!("parameter `{}` of an included combination is not a string", param.name),
                    );
                }
            }
        }
        let in_matrix = matrix.params.iter().chain(matrix.include.iter().flat_map(|include| &include.params));
        for param in in_matrix {
            if self.task.params.iter().any(|other| other.name == param.name) {
                errors
                    .add(path, format!("parameter `{}` stands both in `matrix` and in `params`", param.name));
            }
        }
    }

    /// Variables of pipelines: results and states of tasks, and the context.
    fn check_variable(&self, errors: &mut Errors, path: &str, variable: &Variable) {
        match variable.names().as_slice() {
            ["tasks", "status"] if !self.is_final => {
                errors.add(path, format!("`{variable}` is known in final tasks only"));
            }
            ["tasks", name, "status" | "reason"] => {
                if self.is_final {
                    self.check_task(errors, path, variable, name);
                } else {
                    errors.add(path, format!("`{variable}` is known in final tasks only"));
                }
            }
            ["tasks", name, "results", result, ..] => {
                if let Some(task) = self.check_task(errors, path, variable, name) {
                    check_result(errors, path, variable, task, result);
                }
            }
            ["tasks", name, "matrix", ..] => {
                if let Some(task) = self.check_task(errors, path, variable, name)
                    && !task.is_matrixed()
                {
                    errors.add(path, format!("`{variable}` asks for the matrix of `{name}`, which has none"));
                }
            }
            ["tasks", name, "inputs" | "outputs", ..] => {
                self.check_task(errors, path, variable, name);
            }
            ["context", "pipelineRun", field] if !["name", "namespace", "uid"].contains(field) => errors
                .add_with_help(
                    path,
                    format!("`{variable}` is not known"),
                    "the fields of context.pipelineRun are name, namespace and uid",
                ),
            ["context", "pipeline", field] if *field != "name" => {
                errors.add_with_help(
                    path,
                    format!("`{variable}` is not known"),
                    "write `$(context.pipeline.name)`",
                );
            }
            ["context", "pipelineTask", field] if *field != "retries" => errors.add_with_help(
                path,
                format!("`{variable}` is not known"),
                "write `$(context.pipelineTask.retries)`",
            ),
            _ => {}
        }
    }

    /// The task is one whose end comes before this one's start. Returns it.
    fn check_task(
        &self,
        errors: &mut Errors,
        path: &str,
        variable: &Variable,
        name: &str,
    ) -> Option<&PipelineTask> {
        if name == self.task.name {
            errors.add(path, format!("`{variable}` uses the task that it stands in"));
            return None;
        }
        if self.spec.finally.iter().any(|task| task.name == name) {
            errors.add(
                path,
                format!("`{variable}` uses the final task `{name}`, which no other task can wait for"),
            );
            return None;
        }
        let found = self.spec.tasks.iter().find(|task| task.name == name);
        if found.is_none() {
            errors.add_with_help(
                path,
                format!("`{variable}` uses the task `{name}`, which is not in the Pipeline"),
                declared("tasks", name, self.spec.tasks.iter().map(|task| task.name.as_str())),
            );
        }
        found
    }
}

/// The task produces such a result, as far as it is written out here.
fn check_result(errors: &mut Errors, path: &str, variable: &Variable, task: &PipelineTask, result: &str) {
    if task.is_matrixed() && variable.part != Part::All {
        errors.add_with_help(
            path,
            format!("`{variable}` uses a result of `{}`, which runs once for each combination", task.name),
            format!("use all of them, as in `$(tasks.{}.results.{result}[*])`", task.name),
        );
    }
    let Some(embedded) = task.task_spec.as_ref().filter(|embedded| !embedded.is_custom_task()) else {
        return;
    };
    let results = &embedded.task.results;
    if !results.iter().any(|known| known.name == result) {
        errors.add_with_help(
            path,
            format!(
                "`{variable}` uses the result `{result}`, which the task `{}` does not declare",
                task.name
            ),
            declared("results", result, results.iter().map(|known| known.name.as_str())),
        );
    }
}

/// Results of the Pipeline come from results of its tasks, final ones included.
fn check_results(errors: &mut Errors, path: &str, spec: &PipelineSpec) {
    let path = format!("{path}.results");
    errors.unique(&path, "result", spec.results.iter().map(|result| result.name.as_str()));
    for (index, result) in spec.results.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if result.name.is_empty() {
            errors.missing(&path, "name");
        }
        let mut found = 0;
        each_variable(&format!("{path}.value"), &result.value, |path, variable| {
            found += 1;
            match variable.names().as_slice() {
                ["tasks", name, "results", wanted, ..] => {
                    match spec.all_tasks().find(|task| task.name == *name) {
                        Some(task) => check_result(errors, path, variable, task, wanted),
                        None => errors.add_with_help(
                            path,
                            format!("`{variable}` uses the task `{name}`, which is not in the Pipeline"),
                            declared("tasks", name, spec.all_tasks().map(|task| task.name.as_str())),
                        ),
                    }
                }
                // Tekton takes the states and artifacts of tasks here as well.
                ["tasks", ..] | ["finally", _, "results", ..] => {}
                _ => errors.add_with_help(
                    path,
                    format!("`{variable}` is not a result of a task"),
                    "write `$(tasks.<task>.results.<name>)`",
                ),
            }
        });
        if found == 0 {
            errors.add_with_help(
                format!("{path}.value"),
                "the value uses no result of a task",
                "write `$(tasks.<task>.results.<name>)`",
            );
        }
    }
}
