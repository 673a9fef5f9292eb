//! What a cluster would do with a run: told from the files alone.

use std::path::PathBuf;

use ergon_api::manifest::Object;
use ergon_engine::pod::Platform;
use ergon_engine::run::{self, Children, Explained, Planned};
use ergon_engine::{ImageConfig, Need};
use jiff::Timestamp;

use super::world::{Files, World};
use super::{RunError, RunOptions, inputs};

/// How often a plan may ask for more: once for each kind of thing, and some more.
const MOST_ROUNDS: usize = 100;

/// Tells the pods that a cluster would make of a run, if all its tasks succeeded. Nothing is started, fetched or written.
///
/// Settings are those of a new installation. Namespaces have no limit ranges, and service accounts are those in the files.
///
/// # Errors
/// [`RunError::Input`]: documents without a pipeline to run, or with one that could not start.
pub fn explain(options: &RunOptions) -> Result<Planned, RunError> {
    let target = &inputs::target(&options.documents, options.name.as_deref())?.object;
    if !matches!(target, Object::PipelineRun(_) | Object::Pipeline(_)) {
        let (kind, name) = (target.kind(), target.name());
        return Err(RunError::Input(format!(
            "{kind} `{name}` has one pod alone: name a Pipeline or a PipelineRun"
        )));
    }
    let mut world = inputs::world(options, Files::default(), PathBuf::new())?;
    let platform = Platform { image: String::new(), image_volumes: true, report: None };
    for _ in 0..MOST_ROUNDS {
        let Some(run) = &world.pipeline_run else { break };
        let observed = run::Observed {
            group: world.group,
            run,
            children: Children::default(),
            ancestors: &[],
            library: &world.library,
            config: &world.config,
            plan: None,
            sharing: None,
        };
        let explained = run::explain(&observed, &platform, Timestamp::now());
        match explained.map_err(|invalid| RunError::Input(invalid.told(world.group)))? {
            Explained::Plan(plan) => return Ok(plan),
            Explained::Needs(needs) => needs.iter().for_each(|need| answer(&mut world, need)),
        }
    }
    Err(RunError::Input("the run cannot be told before it starts".to_owned()))
}

fn answer(world: &mut World, need: &Need) {
    match need {
        // Which command an image brings changes nothing about its pod.
        Need::Image { reference, .. } => {
            let config = ImageConfig { entrypoint: vec!["entrypoint".to_owned()], cmd: Vec::new() };
            world.library.images.insert(reference.clone(), Ok(config));
        }
        need => world.nothing_found(need),
    }
}
