//! How long a container takes, whole: `warm_start ARCHIVE [COUNT] [PROGRAM...]` imports an image, runs the program in
//! COUNT containers one after another, and prints the times from the beginning to the
//! program running, ended, and everything removed.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ergon_local::{CONTAINER_ARG, ContainerSpec, PullPolicy, Runtime, Store, container_main};

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let Some(first) = args.next() else { return ExitCode::from(2) };
    if first == CONTAINER_ARG {
        return container_main(args);
    }
    let count = args.next().and_then(|text| text.parse().ok()).unwrap_or(100);
    let program: Vec<String> = args.collect();
    let program = if program.is_empty() { vec!["/bin/true".to_owned()] } else { program };
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure(Path::new(&first), count, &program)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(archive: &Path, count: usize, program: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let store = Store::open(home.path().join("images"))?;
    let begun = Instant::now();
    let names = store.import(archive, None)?;
    eprintln!("import {:?}", begun.elapsed());
    let image = store.resolve(&names[0], PullPolicy::Never, None).await?;
    let runtime = Runtime::open(home.path().join("containers"))?;
    let (mut starts, mut ends, mut wholes) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let begun = Instant::now();
        let spec = ContainerSpec::of_image(format!("warm-{number}"), &image, program.to_vec())?;
        let container = runtime.start(&spec).await?;
        starts.push(begun.elapsed());
        container.wait().await?;
        ends.push(begun.elapsed());
        container.delete().await?;
        wholes.push(begun.elapsed());
    }
    report("start", starts);
    report("ended", ends);
    report("deleted", wholes);
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    if let (Some(least), Some(most)) = (times.first(), times.last()) {
        let p50 = times[times.len() / 2];
        eprintln!("{what}: p50 {p50:?}, least {least:?}, most {most:?} of {}", times.len());
    }
}
