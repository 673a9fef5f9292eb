//! Pipelines: their tasks, and what flows between them. Cycles are found in `ergon-engine`, which has the graph.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::{Scope, declared, each_variable, each_variable_except, last, tekton_reads};
use super::{Errors, conditions, params, references, scripts, step, task};
use crate::variables::{Part, Variable, variables};
use crate::{EmbeddedTask, Group, Matrix, ParamSpec, ParamType, ParamValue, PipelineSpec, PipelineTask};

/// What stands around a Pipeline.
#[derive(Clone, Copy)]
pub(super) enum Around<'a> {
    /// Nothing: it is an object of its own.
    Nothing,
    /// A run, which sets parameters and provides workspaces.
    Run(&'a Scope<'a>),
    /// A task of another Pipeline.
    Pipeline(&'a Scope<'a>),
}

/// Checks a Pipeline.
pub(super) fn check(errors: &mut Errors, path: &str, spec: &PipelineSpec, around: &Around<'_>) {
    check_tasks_exist(errors, path, spec);
    let owner = if spec.all_tasks().any(|task| task.task_spec.is_some()) && matches!(around, Around::Nothing)
    {
        params::Owner::PipelineWithTasks
    } else {
        params::Owner::Pipeline
    };
    params::check_specs(errors, &format!("{path}.params"), &spec.params, owner);
    check_workspaces(errors, &format!("{path}.workspaces"), spec);

    let nothing = Scope::default();
    let (mut scope, final_scope);
    match around {
        Around::Nothing => {
            scope = nothing.inside();
            scope.declare(&spec.params);
            final_scope = None;
        }
        // What is written out in a run is checked as Tekton does: what any task declares or sets is known to all, and
        // final tasks and inner Pipelines are not looked at.
        Around::Run(outer) if errors.group == Group::Tekton => {
            scope = (*outer).clone();
            scope.declare(&spec.params);
            for task in &spec.tasks {
                scope.add(&task.params);
                if let Some(embedded) = &task.task_spec {
                    scope.combine(&embedded.task.params);
                }
            }
            final_scope = Some(Scope::partial());
        }
        Around::Pipeline(_) if errors.group == Group::Tekton => {
            scope = Scope::partial();
            final_scope = Some(Scope::partial());
        }
        Around::Run(outer) | Around::Pipeline(outer) => {
            scope = outer.inside();
            scope.declare(&spec.params);
            final_scope = None;
        }
    }
    scope.provide(spec.workspaces.iter().map(|workspace| workspace.name.as_str()));

    check_names(errors, path, spec);
    let names = Names::of(spec);
    let is_alone = matches!(around, Around::Nothing);
    for (list, tasks, is_final) in [("tasks", &spec.tasks, false), ("finally", &spec.finally, true)] {
        let scope = if is_final { final_scope.as_ref().unwrap_or(&scope) } else { &scope };
        for (index, task) in tasks.iter().enumerate() {
            let place = Place { spec, names: &names, scope, task, is_final, is_alone };
            place.check(errors, &format!("{path}.{list}[{index}]"));
        }
    }
    check_results(errors, path, spec, &names);
}

fn check_tasks_exist(errors: &mut Errors, path: &str, spec: &PipelineSpec) {
    if !spec.tasks.is_empty() {
        return;
    }
    if !spec.finally.is_empty() {
        errors.add_with_help(
            format!("{path}.finally"),
            format!("invalid value: spec.tasks is empty but spec.finally has {} tasks", spec.finally.len()),
            "a Pipeline has at least one task",
        );
    } else if *spec == PipelineSpec::default() {
        let fields = ["description", "params", "resources", "tasks", "workspaces"]
            .map(|field| format!("{path}.{field}"));
        errors.add_with_help(
            format!("{path}.tasks"),
            format!("expected at least one, got none: {}", fields.join(", ")),
            "a Pipeline has at least one task",
        );
    } else {
        errors.ours(|errors| {
            errors.add_with_help(
                format!("{path}.tasks"),
                "missing field(s)",
                "a Pipeline has at least one task",
            );
        });
    }
}

fn check_workspaces(errors: &mut Errors, path: &str, spec: &PipelineSpec) {
    errors.unique(path, spec.workspaces.iter().map(|workspace| workspace.name.as_str()), |name, _, _| {
        format!("invalid value: workspace with name {name:?} appears more than once")
    });
    for (index, workspace) in spec.workspaces.iter().enumerate() {
        if workspace.name.is_empty() {
            errors.add(
                format!("{path}[{index}].name"),
                format!("invalid value: workspace {index} has empty name"),
            );
        }
    }
}

/// Task names are unique over `tasks` and `finally` together: they name runs, results and variables.
fn check_names(errors: &mut Errors, path: &str, spec: &PipelineSpec) {
    let mut seen = BTreeMap::new();
    for (list, tasks) in [("tasks", &spec.tasks), ("finally", &spec.finally)] {
        for (index, task) in tasks.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            task::check_label(errors, &path, &task.name);
            if let Some(first) = seen.get(task.name.as_str()) {
                errors.add_with_help(
                    format!("{path}.name"),
                    "expected exactly one, got both",
                    format!("task `{}` is already declared as {first}", task.name),
                );
            } else if !task.name.is_empty() {
                seen.insert(task.name.as_str(), path);
            }
        }
    }
}

/// The tasks of a Pipeline by name.
struct Names<'a> {
    tasks: BTreeMap<&'a str, &'a PipelineTask>,
    finally: BTreeMap<&'a str, &'a PipelineTask>,
}

impl<'a> Names<'a> {
    fn of(spec: &'a PipelineSpec) -> Self {
        let by_name =
            |tasks: &'a [PipelineTask]| tasks.iter().rev().map(|task| (task.name.as_str(), task)).collect();
        Self { tasks: by_name(&spec.tasks), finally: by_name(&spec.finally) }
    }

    fn any(&self, name: &str) -> Option<&'a PipelineTask> {
        self.tasks.get(name).or_else(|| self.finally.get(name)).copied()
    }
}

/// One task and all that it can refer to.
struct Place<'a> {
    spec: &'a PipelineSpec,
    names: &'a Names<'a>,
    scope: &'a Scope<'a>,
    task: &'a PipelineTask,
    is_final: bool,
    /// True when the Pipeline is an object of its own.
    is_alone: bool,
}

impl Place<'_> {
    fn check(&self, errors: &mut Errors, path: &str) {
        let task = self.task;
        self.check_work(errors, path);
        self.check_order(errors, path);
        self.check_workspaces(errors, path);
        params::check_task_values(errors, &format!("{path}.params"), &task.params);
        references::check_when(errors, &format!("{path}.when"), &task.when);
        step::check_on_error(errors, path, task.on_error.as_deref(), |word| format!("invalid value: {word}"));
        if task.continues_on_error() && task.retries.is_some_and(|retries| retries > 0) {
            errors.add_with_help(
                format!("{path}.onError"),
                "PipelineTask OnError cannot be set to \"continue\" when Retries is greater than 0",
                "remove one of `onError` and `retries`",
            );
        }
        errors.ours(|errors| {
            if let Some(retries) = task.retries.filter(|retries| *retries < 0) {
                errors.add(format!("{path}.retries"), format!("invalid value: {retries} should be >= 0"));
            }
            if let Some(timeout) = task.timeout.filter(|timeout| timeout.is_negative()) {
                errors.add(format!("{path}.timeout"), format!("invalid value: {timeout} should be >= 0"));
            }
        });
        if let Some(matrix) = &task.matrix {
            self.check_matrix(errors, &format!("{path}.matrix"), matrix);
        }
        self.check_conditions(errors, path);
        // What is written out inside has scopes of its own, and is checked with them.
        each_variable_except(path, task, &["taskSpec", "pipelineSpec"], |path, variable| {
            if errors.group == Group::Ergon && last(path) == "cel" {
                return;
            }
            Self::check_prefix(errors, path, variable);
            if !self.scope.check(errors, path, variable) {
                self.check_variable(errors, path, variable);
            }
        });
    }

    /// What the task runs: exactly one thing, and a valid one.
    fn check_work(&self, errors: &mut Errors, path: &str) {
        let task = self.task;
        let fields = [
            ("taskRef", task.task_ref.is_some()),
            ("taskSpec", task.task_spec.is_some()),
            ("pipelineRef", task.pipeline_ref.is_some()),
            ("pipelineSpec", task.pipeline_spec.is_some()),
        ];
        let set: Vec<String> =
            fields.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| format!("{path}.{name}")).collect();
        match set.as_slice() {
            [] => errors.exactly_one(path, &fields),
            [_] => {}
            [_, second, ..] => {
                errors
                    .add(second.as_str(), format!("expected exactly one, got multiple: {}", set.join(", ")));
            }
        }
        if let Some(task_ref) = &task.task_ref {
            let path = format!("{path}.taskRef");
            if task_ref.api_version.is_some() || task_ref.kind.as_deref().is_some_and(|kind| kind != "Task") {
                check_custom(errors, &path, "ref", task_ref.api_version.as_deref(), task_ref.kind.as_deref());
            } else {
                references::check_task_ref(errors, &path, task_ref);
            }
        }
        if let Some(pipeline_ref) = &task.pipeline_ref {
            references::check_pipeline_ref(errors, &format!("{path}.pipelineRef"), pipeline_ref);
        }
        if let Some(pipeline) = &task.pipeline_spec {
            let scope = self.inner_scope(errors.group);
            check(errors, &format!("{path}.pipelineSpec"), pipeline, &Around::Pipeline(&scope));
        }
        if let Some(embedded) = &task.task_spec {
            self.check_embedded(errors, &format!("{path}.taskSpec"), embedded);
        }
    }

    fn check_embedded(&self, errors: &mut Errors, path: &str, embedded: &EmbeddedTask) {
        if !embedded.task.steps.is_empty() {
            for (field, is_set) in
                [("apiVersion", embedded.api_version.is_some()), ("kind", embedded.kind.is_some())]
            {
                if is_set {
                    errors.add(
                        format!("{path}.{field}"),
                        format!("taskSpec.{field} cannot be specified when using taskSpec.steps"),
                    );
                }
            }
        }
        if embedded.api_version.is_some() || embedded.kind.as_deref().is_some_and(|kind| kind != "Task") {
            check_custom(errors, path, "spec", embedded.api_version.as_deref(), embedded.kind.as_deref());
            return;
        }
        errors.ours(|errors| {
            let path = path.strip_suffix(".taskSpec").unwrap_or(path);
            self.check_given(errors, path, &embedded.task.params);
        });
        task::check(errors, path, &embedded.task, &self.inner_scope(errors.group));
        for (index, step) in embedded.task.steps.iter().enumerate() {
            let path = format!("{path}.steps[{index}]");
            let check = |errors: &mut Errors, path: &str, variable: &Variable| {
                if variable.path[0] == "tasks" {
                    self.check_variable(errors, path, variable);
                }
            };
            let except = scripts::read_elsewhere(errors, step.script.as_deref(), &step.script_values);
            each_variable_except(&path, step, except, |path, variable| check(errors, path, variable));
            errors.ours(|errors| scripts::each_name(errors, &format!("{path}.script"), step, check));
        }
    }

    /// Expressions in CEL are typed against what the task can see.
    fn check_conditions(&self, errors: &mut Errors, path: &str) {
        let matrix = self.task.matrix.iter().flat_map(|matrix| {
            matrix.params.iter().chain(matrix.include.iter().flat_map(|include| &include.params))
        });
        let mut names = conditions::Names {
            roots: &["params", "tasks", "context", "workspaces"],
            type_of: &|variable| self.scope.type_of(variable).or_else(|| self.result_type(variable)),
            params: self.scope.param_names().into_iter().map(str::to_owned).collect(),
            matrix: matrix.map(|param| param.name.clone()).collect(),
        };
        let check = |errors: &mut Errors, path: &str, text: &str, names: &conditions::Names<'_>| {
            conditions::check(errors, path, text, names, |errors, variable| {
                if !self.scope.check(errors, path, variable) {
                    self.check_variable(errors, path, variable);
                }
            });
        };
        errors.ours(|errors| {
            for (index, when) in self.task.when.iter().enumerate() {
                if let Some(text) = &when.cel {
                    check(errors, &format!("{path}.when[{index}].cel"), text, &names);
                }
            }
        });
        let Some(filter) = self.task.matrix.as_ref().and_then(|matrix| matrix.filter.as_ref()) else {
            return;
        };
        let path = format!("{path}.matrix.filter");
        if errors.group == Group::Tekton {
            return errors.add_with_help(
                path,
                "unknown field `filter`",
                "`ergon.dev` has it, and `tekton.dev` has not",
            );
        }
        names.roots = &["matrix", "params", "tasks", "context", "workspaces"];
        check(errors, &path, filter, &names);
    }

    /// What is given to a Task fits the types that it declares, as far as both are known.
    fn check_given(&self, errors: &mut Errors, path: &str, declared: &[ParamSpec]) {
        let spec_of = |name: &str| declared.iter().find(|spec| spec.name == name);
        for (index, param) in self.task.params.iter().enumerate() {
            let Some(spec) = spec_of(&param.name) else { continue };
            let path = format!("{path}.params[{index}].value");
            self.check_value(errors, &path, spec, &param.value);
        }
        for (index, param) in self.task.matrix.iter().flat_map(|matrix| &matrix.params).enumerate() {
            let Some(spec) = spec_of(&param.name) else { continue };
            for (item, text) in param.value.as_array().into_iter().flatten().enumerate() {
                let path = format!("{path}.matrix.params[{index}].value[{item}]");
                self.check_value(errors, &path, spec, &ParamValue::String(text.clone()));
            }
        }
    }

    fn check_value(&self, errors: &mut Errors, path: &str, spec: &ParamSpec, value: &ParamValue) {
        let declared = spec.declared();
        let value = declared.read(value);
        let found = value.as_str().map(variables).unwrap_or_default();
        let help = params::how_to_write(declared.type_);
        let name = &spec.name;
        match found.as_slice() {
            [variable] if variable.is_alone => {
                let Some(type_) = self.scope.type_of(variable).or_else(|| self.result_type(variable)) else {
                    return;
                };
                let is_ours = |type_: ParamType| type_.carried() != type_ || type_ == ParamType::Secret;
                if !type_.may_be(declared.type_) && (is_ours(type_) || is_ours(declared.type_)) {
                    errors.add_with_help(
                        path,
                        format!(
                            "`{variable}` is {}, and the parameter `{name}` of the task is {}",
                            crate::types::an(type_),
                            crate::types::an(declared.type_)
                        ),
                        format!("declare both with the same type, such as `type: {}`", declared.type_),
                    );
                }
            }
            [] if !declared.is_plain() => {
                if let Err(mismatch) = declared.check(&value) {
                    errors.add_with_help(
                        path,
                        format!("the parameter `{name}` of the task: {mismatch}"),
                        help,
                    );
                }
            }
            _ => {}
        }
    }

    /// The type that a task which is written out here declares for a result.
    fn result_type(&self, variable: &Variable) -> Option<ParamType> {
        let names = variable.names();
        let (["tasks", task, "results", result], Part::Value) = (names.as_slice(), variable.part) else {
            return None;
        };
        let embedded = self.names.tasks.get(task)?.task_spec.as_ref()?;
        embedded.task.results.iter().find(|known| known.name == *result)?.type_
    }

    /// What a Task or Pipeline written out here can use: all that the Pipeline can, and what is set for it. Tekton asks for
    /// a declaration of the latter in the Task, or in the run around the Pipeline.
    fn inner_scope(&self, group: Group) -> Scope<'_> {
        let mut scope = self.scope.inside();
        scope.enter_pipeline();
        if group == Group::Tekton {
            return scope;
        }
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
                format!(
                    "invalid value: no runAfter allowed under spec.finally, final task {} has runAfter specified",
                    self.task.name
                ),
                "final tasks run side by side, after all others",
            );
            return;
        }
        for (index, name) in self.task.run_after.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if *name == self.task.name {
                errors.add_with_help(
                    path,
                    format!("invalid value: cycle detected; task {name:?} depends on {name:?}"),
                    "a task cannot wait for itself",
                );
            } else if !self.names.tasks.contains_key(name.as_str()) {
                self.not_in_pipeline(errors, &path, name);
            }
        }
    }

    /// A task waits for one that is not there.
    fn not_in_pipeline(&self, errors: &mut Errors, path: &str, name: &str) {
        let task = &self.task.name;
        let help = if self.names.finally.contains_key(name) {
            format!("`{name}` is a final task, which runs after this one")
        } else {
            declared("tasks", name, self.spec.tasks.iter().map(|task| task.name.as_str()))
        };
        errors.add_with_help(
            path,
            format!(
                "invalid value: couldn't add link between {task} and {name}: task {task} depends on {name} but {name} \
                 wasn't present in Pipeline"
            ),
            help,
        );
    }

    fn check_workspaces(&self, errors: &mut Errors, path: &str) {
        let path = format!("{path}.workspaces");
        errors.ours_if(!self.is_alone, |errors| {
            errors.unique(
                &path,
                self.task.workspaces.iter().map(|workspace| workspace.name.as_str()),
                |name, _, _| format!("workspace name {name:?} must be unique"),
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
                        format!(
                            "invalid value: pipeline task {:?} expects workspace with name {wanted:?} but none exists in \
                             pipeline spec",
                            self.task.name
                        ),
                        self.scope.workspace_help(wanted),
                    );
                }
            }
        });
    }

    /// A matrix fans out over lists of texts, and sets nothing that `params` sets.
    fn check_matrix(&self, errors: &mut Errors, path: &str, matrix: &Matrix) {
        if self.task.is_pipeline() {
            errors.add(path, "a matrix cannot fan out over a Pipeline");
        }
        let params_path = format!("{path}.params");
        params::check_task_values(errors, &params_path, &matrix.params);
        let mut combinations = usize::from(!matrix.params.is_empty());
        for (index, param) in matrix.params.iter().enumerate() {
            let path = format!("{params_path}[{index}].value");
            if let Some(items) = param.value.as_array() {
                combinations = combinations.saturating_mul(items.len().max(1));
            } else if !param.value.as_str().is_some_and(|text| variables(text).iter().any(|v| v.is_alone)) {
                errors.ours(|errors| {
                    errors.add_with_help(
                        path,
                        format!("parameter `{}` of a matrix is not an array", param.name),
                        "write a list of texts, or a whole array as in `$(params.list[*])`",
                    );
                });
            }
        }
        combinations = combinations.saturating_add(included(matrix));
        let most = usize::try_from(errors.config.defaults.max_matrix_combinations).unwrap_or(usize::MAX);
        if combinations > most {
            errors.add_with_help(
                path,
                format!("expected 0 <= {combinations} <= {most}"),
                format!("the matrix has {combinations} combinations, at most {most} are allowed"),
            );
        }
        for (index, include) in matrix.include.iter().enumerate() {
            let path = format!("{path}.include[{index}].params");
            params::check_task_values(errors, &path, &include.params);
            for (index, param) in include.params.iter().enumerate() {
                if param.value.as_str().is_none() {
                    errors.ours(|errors| {
                        errors.add(
                            format!("{path}[{index}].value"),
                            format!("parameter `{}` of an included combination is not a string", param.name),
                        );
                    });
                }
            }
        }
        let outside: BTreeSet<&str> = self.task.params.iter().map(|param| param.name.as_str()).collect();
        let in_matrix = matrix.params.iter().chain(matrix.include.iter().flat_map(|include| &include.params));
        for name in in_matrix.map(|param| param.name.as_str()).collect::<BTreeSet<_>>() {
            if outside.contains(name) {
                let task = path.strip_suffix(".matrix").unwrap_or(path);
                errors.add(
                    path,
                    format!("expected exactly one, got both: {path}[{name}], {task}.params[{name}]"),
                );
            }
        }
    }

    /// In parameters and conditions, Tekton takes only what it knows, so that a shell's `$(…)` is found early.
    fn check_prefix(errors: &mut Errors, path: &str, variable: &Variable) {
        const KNOWN: [&str; 6] = ["params", "tasks", "finally", "context", "workspaces", "results"];
        if tekton_reads(path) && !KNOWN.contains(&variable.path[0].as_str()) {
            errors.add(
                path,
                format!(
                    "invalid value: invalid variable reference \"{variable}\", must start with a valid prefix: params, \
                     tasks, finally, context, workspaces, or results; if you meant a shell variable, use ${{VAR}} instead"
                ),
            );
        }
    }

    /// Variables of pipelines: results and states of tasks, and the context.
    fn check_variable(&self, errors: &mut Errors, path: &str, variable: &Variable) {
        let reads = tekton_reads(path);
        let is_matrix = path.contains(".matrix.");
        match variable.names().as_slice() {
            ["tasks", "status"] | ["tasks", _, "status" | "reason"] if !self.is_final => {
                errors.ours_if(!reads || is_matrix || path.contains(".steps["), |errors| {
                    errors.add_with_help(
                        path,
                        "invalid value: pipeline tasks can not refer to execution status of any other pipeline task or \
                         aggregate status of tasks",
                        format!("`{variable}` is known in final tasks only"),
                    );
                });
            }
            ["tasks", name, "status" | "reason"] if !self.names.tasks.contains_key(name) => {
                errors.ours_if(!reads || is_matrix, |errors| {
                    errors.add_with_help(
                        path,
                        format!("invalid value: pipeline task {name} is not defined in the pipeline"),
                        declared("tasks", name, self.spec.tasks.iter().map(|task| task.name.as_str())),
                    );
                });
            }
            ["tasks", name, "results", result, ..] => {
                if let Some(task) = self.check_producer(errors, path, name) {
                    let is_ours = self.is_final || !path.contains(".params[") || is_matrix;
                    check_result(errors, path, variable, task, result, is_ours);
                }
            }
            ["tasks", name, "matrix", ..] => errors.ours(|errors| {
                if let Some(task) = self.check_producer(errors, path, name)
                    && !task.is_matrixed()
                {
                    errors.add(path, format!("`{variable}` asks for the matrix of `{name}`, which has none"));
                }
            }),
            ["tasks", name, "inputs" | "outputs", ..] => errors.ours(|errors| {
                self.check_producer(errors, path, name);
            }),
            ["context", object @ ("pipelineRun" | "pipeline" | "pipelineTask"), field] => {
                let known: &[&str] = match *object {
                    "pipelineRun" => &["name", "namespace", "uid"],
                    "pipeline" => &["name"],
                    _ => &["retries"],
                };
                if !known.contains(field) {
                    errors.ours_if(!reads || path.contains(".when["), |errors| {
                        errors.add_with_help(
                            path,
                            format!("non-existent variable in \"{variable}\""),
                            format!("of context.{object} there is {}", known.join(", ")),
                        );
                    });
                }
            }
            _ => {}
        }
    }

    /// A task whose result is used is one that ends before this one starts. Returns it.
    fn check_producer(&self, errors: &mut Errors, path: &str, name: &str) -> Option<&PipelineTask> {
        if let Some(task) = self.names.tasks.get(name)
            && *name != self.task.name
        {
            // Tekton has no results of child pipelines; the engine has, and `ergon.dev` lets them be used.
            if task.is_pipeline() && errors.group == Group::Tekton {
                errors.add(
                    path,
                    format!(
                        "invalid value: result reference to pipelineTask {name:?} is not supported: referenced task uses \
                         pipelineRef or pipelineSpec and result propagation from child Pipelines is not yet implemented"
                    ),
                );
            }
            return Some(task);
        }
        if !self.is_final {
            errors.ours_if(!tekton_reads(path), |errors| {
                if *name == self.task.name {
                    errors.add_with_help(
                        path,
                        format!("invalid value: cycle detected; task {name:?} depends on {name:?}"),
                        "a task cannot use its own result",
                    );
                } else {
                    self.not_in_pipeline(errors, path, name);
                }
            });
            return None;
        }
        errors.ours_if(!tekton_reads(path) || path.contains(".matrix.") || path.contains(".steps["), |errors| {
            let message = "invalid value: invalid task result reference, final task has task result reference from a";
            if self.names.finally.contains_key(name) {
                errors.add_with_help(
                    path,
                    format!("{message} final task {name}"),
                    "final tasks run side by side",
                );
            } else {
                errors.add_with_help(
                    path,
                    format!("{message} task {name} which is not defined in the pipeline"),
                    declared("tasks", name, self.spec.tasks.iter().map(|task| task.name.as_str())),
                );
            }
        });
        None
    }
}

/// How many combinations `include` adds to those of `params`: those that no combination of `params` takes up.
fn included(matrix: &Matrix) -> usize {
    let values: BTreeMap<&str, &[String]> = matrix
        .params
        .iter()
        .map(|param| (param.name.as_str(), param.value.as_array().unwrap_or_default()))
        .collect();
    let is_new = |include: &&crate::IncludeParams| {
        values.is_empty()
            || include.params.iter().any(|param| {
                values.get(param.name.as_str()).is_some_and(|values| {
                    !values.iter().any(|value| Some(value.as_str()) == param.value.as_str())
                })
            })
    };
    matrix.include.iter().filter(is_new).count()
}

/// The task produces such a result, as far as it is written out here. Tekton does not look at the place if `is_ours`.
fn check_result(
    errors: &mut Errors,
    path: &str,
    variable: &Variable,
    task: &PipelineTask,
    result: &str,
    is_ours: bool,
) {
    errors.ours_if(is_ours, |errors| check_use_of_matrix(errors, path, variable, task, result));
    let Some(embedded) = task.task_spec.as_ref().filter(|embedded| !embedded.is_custom_task()) else {
        return;
    };
    let results = &embedded.task.results;
    errors.ours(|errors| {
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
    });
}

/// Of a task that runs once for each combination, all results are used together, and they are texts.
fn check_use_of_matrix(
    errors: &mut Errors,
    path: &str,
    variable: &Variable,
    task: &PipelineTask,
    result: &str,
) {
    if !task.is_matrixed() {
        return;
    }
    if variable.part != Part::All {
        errors.add_with_help(
            path,
            format!(
                "A matrixed pipelineTask can only be consumed in aggregate using [*] notation, but is currently set to {}",
                variable.text
            ),
            format!("use all of them, as in `$(tasks.{}.results.{result}[*])`", task.name),
        );
    }
    let declared = task.task_spec.iter().flat_map(|embedded| &embedded.task.results);
    for known in declared.filter(|known| known.name == result) {
        let type_ = known.effective_type();
        if type_ != ParamType::String {
            errors.add(
                path,
                format!(
                    "invalid value: Matrixed PipelineTasks emitting results must have an underlying type string, but \
                     result {result} has type {type_} in pipelineTask"
                ),
            );
        }
    }
}

/// Results of the Pipeline come from results of its tasks, final ones included.
fn check_results(errors: &mut Errors, path: &str, spec: &PipelineSpec, names: &Names<'_>) {
    let path = format!("{path}.results");
    errors.ours(|errors| errors.one_each(&path, spec.results.iter().map(|result| result.name.as_str())));
    for (index, result) in spec.results.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if result.name.is_empty() {
            errors.missing(&path, "name");
        }
        let (mut found, mut results) = (0, 0);
        let value_path = format!("{path}.value");
        each_variable(&value_path, &result.value, |path, variable| {
            found += 1;
            let parts = variable.names();
            let ["tasks" | "finally", name, "results", wanted, ..] = parts.as_slice() else { return };
            results += 1;
            let task = match variable.path[0].as_str() {
                "finally" => names.finally.get(name).copied(),
                _ if errors.group == Group::Ergon => names.any(name),
                _ => names.tasks.get(name).copied(),
            };
            match task {
                Some(task) => errors.ours(|errors| check_result(errors, path, variable, task, wanted, true)),
                None => errors.add_with_help(
                    path,
                    "invalid value: referencing a nonexistent task",
                    declared("tasks", name, spec.all_tasks().map(|task| task.name.as_str())),
                ),
            }
        });
        if results == 0 {
            let what = if found == 0 { "no expressions were" } else { "an invalid expressions was" };
            errors.add_with_help(
                value_path,
                format!(
                    "invalid value: expected pipeline results to be task result expressions but {what} found"
                ),
                "write `$(tasks.<task>.results.<name>)`",
            );
        }
    }
}

/// A task of another kind: Tekton only hands it on.
fn check_custom(errors: &mut Errors, path: &str, what: &str, api_version: Option<&str>, kind: Option<&str>) {
    if kind.is_none() && what == "spec" {
        errors.add(format!("{path}.kind"), format!("invalid value: custom task {what} must specify kind"));
    }
    let Some(api_version) = api_version else {
        let help = match kind {
            Some("ClusterTask") => {
                "the kind ClusterTask is gone: write `resolver: cluster` with the parameters kind, name and namespace"
            }
            _ => "a kind other than Task is a custom task, as in `apiVersion: example.dev/v1`",
        };
        errors.add_with_help(
            format!("{path}.apiVersion"),
            format!("invalid value: custom task {what} must specify apiVersion"),
            help,
        );
        return;
    };
    let parts: Vec<&str> = api_version.split('/').collect();
    if parts.len() != 2 || parts.contains(&"") {
        errors.add(
            format!("{path}.apiVersion"),
            format!(
                "invalid value: invalid apiVersion format {api_version:?}, must be in the format \"group/version\""
            ),
        );
    }
}
