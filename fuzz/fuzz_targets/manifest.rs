//! Any bytes as a file of manifests: read, filled with defaults and checked, without a panic.
#![no_main]

use ergon_api::{Config, Group, Object, SetDefaults, Validate, parse_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let config = Config::default();
    for document in parse_bytes(bytes, "fuzz").unwrap_or_default() {
        let _ = document.check();
        macro_rules! check {
            ($object:expr) => {{
                let mut object = $object;
                object.set_defaults(Group::Tekton, &config);
                let _ = object.validate(&config);
            }};
        }
        match document.object {
            Object::Task(object) => check!(*object),
            Object::Pipeline(object) => check!(*object),
            Object::TaskRun(object) => check!(*object),
            Object::PipelineRun(object) => check!(*object),
            Object::StepAction(object) => check!(*object),
            Object::CustomRun(object) => check!(*object),
            Object::Other(_) => {}
        }
    }
});
