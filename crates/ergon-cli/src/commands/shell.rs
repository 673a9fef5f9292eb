//! `ergon shell`: into the container of a step that has ended.

use std::path::Path;

use clap::Args;
use ergon_local::kept::{self, KeptRun, KeptStep};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::interrupts::Interrupts;
use super::run::home;
use super::runs::of_kept;
use crate::console::Console;
use crate::failure::{Code, Failure, Result};
use crate::terminal;

/// Opens a shell in the container of a step of a local run that has ended.
///
/// Without names: in the step that failed the last run that failed. It has the step's files as the step left them, its
/// variables, user, volumes and workspaces. What is changed in there stays for the next `ergon shell`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon shell                       where the last run failed
  ergon shell test/unit             another step of that run
  ergon shell ci test/unit          a step of the newest run of `ci` of which all is kept
  ergon shell -- cat /etc/os-release")]
pub struct ShellArgs {
    #[command(flatten)]
    step: StepArgs,

    /// What to run in the place of a shell.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Which step of which run.
#[derive(Debug, Args)]
pub struct StepArgs {
    /// The run: its ID or the end of it, its name, or the name of what was run. With one name alone it may be the step.
    #[arg(value_name = "RUN")]
    run: Option<String>,

    /// The step: its own name, its task's, or both as `TASK/STEP`.
    #[arg(value_name = "STEP")]
    step: Option<String>,
}

impl StepArgs {
    /// The run and the step that are meant.
    pub fn find(&self, home: &Path) -> Result<(KeptRun, KeptStep)> {
        let (run, step) = match (&self.run, &self.step) {
            (Some(name), None) => match kept::find(home, Some(name)) {
                Ok(run) => (run, None),
                // No run has this name, so it is a step of the run that is meant without one.
                Err(no_run) => match kept::find(home, None) {
                    Ok(run) if kept::find_step(&run, Some(name)).is_ok() => (run, Some(name)),
                    _ => return Err(of_kept(no_run)),
                },
            },
            (run, step) => (kept::find(home, run.as_deref()).map_err(of_kept)?, step.as_ref()),
        };
        let step = kept::find_step(&run, step.map(String::as_str)).map_err(of_kept)?;
        Ok((run, step))
    }
}

pub async fn shell(args: ShellArgs, console: Console) -> Result {
    let home = home()?;
    let (run, step) = args.step.find(&home)?;
    let terminal = terminal::is_there();
    if !terminal && args.command.is_empty() {
        return Err(Failure::usage("there is no terminal for a shell")
            .hint("name a command: `ergon shell -- COMMAND`"));
    }
    let entered = kept::enter(&home, &run, &step, args.command.clone(), terminal).await;
    let mut entered = entered.map_err(|error| no_shell(error, &args.command))?;
    if args.command.is_empty() {
        console.say(&format!("in step `{}` of run `{}`", step.name(), run.record.name));
        if let Some(script) = &entered.script {
            console.say(&format!("its script is {}", script.display()));
        }
    }
    if !entered.as_it_was {
        console.say("what the step wrote outside of its volumes is gone: this is its image as it was");
    }
    let container = &mut entered.container;
    let exit = if let Some(terminal) = container.terminal.take() {
        terminal::sit_at(terminal, container.wait()).await?
    } else {
        let copies = (
            tokio::spawn(copy(container.stdout.take(), std::io::stdout())),
            tokio::spawn(copy(container.stderr.take(), std::io::stderr())),
        );
        let mut interrupts = Interrupts::new()?;
        let exit = tokio::select! {
            exit = container.wait() => exit,
            _ = interrupts.next() => {
                let _ = container.kill_now();
                container.wait().await
            }
        };
        // They end with the container, or with who reads them.
        let _ = tokio::join!(copies.0, copies.1);
        exit
    };
    let exit = exit.map_err(|error| of_kept(error.into()));
    entered.container.delete().await.map_err(|error| of_kept(error.into()))?;
    match exit?.code {
        0 => Ok(()),
        // What a shell gives back is that of the last command, which is no failure of ours.
        _ if args.command.is_empty() => Ok(()),
        code => {
            Err(Failure::new(Code::RunFailed, format!("`{}` ended with exit code {code}", args.command[0])))
        }
    }
}

fn no_shell(error: kept::KeptError, command: &[String]) -> Failure {
    let failure = of_kept(error);
    if command.is_empty() && failure.message.contains("sh: ") {
        return failure.hint("the image has no shell: name a program that it has, after `--`");
    }
    failure
}

async fn copy(from: Option<impl AsyncRead + Unpin>, mut to: impl std::io::Write) {
    let Some(mut from) = from else { return };
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if to.write_all(&bytes[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
