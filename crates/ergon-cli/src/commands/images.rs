//! `ergon images`: the images that local runs use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use ergon_local::images::{Progress, PullEvent};
use ergon_local::{ImageError, Prune, PullPolicy, Store};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::json;

use super::run::home;
use crate::args::Output;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::render::{Style, Table, age, bytes};

/// Lists, pulls, imports and removes the images of local runs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon images list
  ergon images pull busybox:1.36
  ergon images import busybox.tar --name localhost/busybox:1
  ergon images prune --unused-for 30d")]
pub struct ImagesArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the images that are on this machine.
    #[command(visible_alias = "ls", after_long_help = "Examples:\n  ergon images list -o name")]
    List {
        /// How to print them.
        #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Output,
    },
    /// Brings in images from their registries, or what is new of them.
    ///
    /// Runs pull what they need by themselves. Logins are those of Docker and Podman: `~/.docker/config.json` and
    /// `containers/auth.json`, with the helpers that they name.
    #[command(after_long_help = "\
Examples:
  ergon images pull busybox:1.36
  ergon images pull ghcr.io/org/app@sha256:0123...")]
    Pull {
        /// The images.
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Removes what is not needed: layers without an image and, with `--unused-for` or `--all`, images.
    ///
    /// Not while a run uses images.
    #[command(after_long_help = "\
Examples:
  ergon images prune                    what no image needs
  ergon images prune --unused-for 30d   images too that no run has used for so long
  ergon images prune --all --dry-run")]
    Prune {
        /// Remove images that no run has used for so long, such as `12h` or `30d`.
        #[arg(long, value_name = "TIME", value_parser = time)]
        unused_for: Option<Duration>,

        /// Remove all images.
        #[arg(long, conflicts_with = "unused_for")]
        all: bool,

        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Brings in images: an archive of `docker save` or of OCI, or a folder with an OCI layout.
    #[command(after_long_help = "\
Examples:
  docker save busybox:1 -o busybox.tar && ergon images import busybox.tar
  ergon images import layout/ --name example.com/tool:1")]
    Import {
        /// The archive or folder.
        #[arg(value_name = "FILE")]
        path: PathBuf,

        /// The image's name, in place of the one inside.
        #[arg(long, value_name = "IMAGE")]
        name: Option<String>,
    },
}

pub async fn images(args: ImagesArgs, console: Console) -> Result {
    let folder = home()?.join("images");
    if let Action::Prune { unused_for, all, dry_run } = args.action {
        let unused_for = if all { Some(Duration::ZERO) } else { unused_for };
        return prune(folder, Prune { unused_for, dry_run }, console).await;
    }
    let store = Store::open(folder).map_err(|error| failure(&error))?;
    match args.action {
        Action::Prune { .. } => Ok(()),
        Action::Pull { images } => {
            for image in &images {
                pull(&store, image, console).await?;
            }
            Ok(())
        }
        Action::List { output } => list(&store, output, console),
        Action::Import { path, name } => {
            // Unpacking is work for the processor and the disk.
            let names = tokio::task::spawn_blocking(move || store.import(&path, name.as_deref()))
                .await
                .map_err(|error| Failure::invalid(error.to_string()))?
                .map_err(|error| failure(&error))?;
            names.iter().try_for_each(|name| console.line(name))
        }
    }
}

async fn pull(store: &Store, image: &str, console: Console) -> Result {
    let bar = if console.live { ProgressBar::no_length() } else { ProgressBar::hidden() };
    // The template is ours and never wrong; the default is as good where it were.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bytes} of {total_bytes}") {
        bar.set_style(style);
    }
    bar.set_message(format!("pulling {image}"));
    let (layers, told) = (Mutex::new(BTreeMap::new()), bar.clone());
    let progress: Progress = Arc::new(move |event| match event {
        PullEvent::Started { bytes, .. } => told.set_length(bytes),
        PullEvent::Downloading { layer, done, .. } => {
            let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.insert(layer, done);
            told.set_position(layers.values().sum());
        }
        PullEvent::LayerHere { .. } | PullEvent::Unpacked { .. } | PullEvent::Finished { .. } => {}
    });
    let pulled = store.resolve(image, PullPolicy::Always, Some(progress)).await;
    bar.finish_and_clear();
    let pulled = pulled.map_err(|error| failure(&error))?;
    console.line(&format!("{} {}", pulled.reference, pulled.digest))
}

async fn prune(folder: PathBuf, wanted: Prune, console: Console) -> Result {
    let pruned = tokio::task::spawn_blocking(move || Store::prune(&folder, wanted, SystemTime::now()))
        .await
        .map_err(|error| Failure::invalid(error.to_string()))?
        .map_err(|error| failure(&error))?;
    pruned.references.iter().try_for_each(|name| console.line(name))?;
    let layers = if pruned.layers == 1 { "1 layer".to_owned() } else { format!("{} layers", pruned.layers) };
    let (would, amount) = (if wanted.dry_run { "would free" } else { "freed" }, bytes(pruned.bytes));
    console.say(&format!("{would} {amount}: {layers}"));
    Ok(())
}

/// A span of time, which may be in days.
pub fn time(text: &str) -> std::result::Result<Duration, String> {
    let spans = if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()) {
        Some(Duration::from_hours(days.saturating_mul(24).min(u64::from(u32::MAX))))
    } else {
        let span = text.parse::<ergon_api::Duration>().map_err(|error| error.to_string())?;
        u64::try_from(span.as_millis()).ok().map(Duration::from_millis)
    };
    spans.ok_or_else(|| "write a span of time such as `12h` or `30d`".to_owned())
}

fn list(store: &Store, output: Output, console: Console) -> Result {
    let images = store.list().map_err(|error| failure(&error))?;
    let values = || -> Vec<_> {
        images
            .iter()
            .map(|image| {
                json!({"reference": image.reference, "digest": image.digest, "sizeBytes": image.size,
                "lastUsed": when(image.last_used).map(|time| time.to_string())})
            })
            .collect()
    };
    match output {
        Output::Table if images.is_empty() => {
            console.say("no images");
            console.hint("`ergon run` pulls what it needs; `ergon images import FILE` brings in an archive");
            Ok(())
        }
        Output::Table => {
            let now = console.now();
            let rows = images.iter().map(|image| {
                let used = age(now, when(image.last_used));
                (image.reference.as_str(), image.digest.as_str(), image.size, used)
            });
            console.print(&table(rows, console.out))
        }
        Output::Name => images.iter().try_for_each(|image| console.line(&image.reference)),
        Output::Json => console.line(&json!(values()).to_string()),
        Output::Yaml => {
            let text =
                serde_saphyr::to_string(&values()).map_err(|error| Failure::invalid(error.to_string()))?;
            console.print(&text)
        }
    }
}

fn when(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

fn table<'a>(images: impl Iterator<Item = (&'a str, &'a str, u64, String)>, style: Style) -> String {
    let mut table = Table::new(&["IMAGE", "DIGEST", "SIZE", "USED"]);
    for (reference, digest, size, used) in images {
        let short: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
        table.row(vec![reference.to_owned(), short, bytes(size), used]);
    }
    table.render(style)
}

fn failure(error: &ImageError) -> Failure {
    Failure::invalid(ergon_local::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_short() {
        let digest = "sha256:0123456789abcdef0123456789abcdef";
        assert_eq!(
            table([("localhost/a:1", digest, 3 << 20, "2d".to_owned())].into_iter(), Style::PLAIN),
            "IMAGE          DIGEST        SIZE     USED\nlocalhost/a:1  0123456789ab  3.0 MiB  2d\n"
        );
    }

    #[test]
    fn times_may_be_in_days() {
        assert_eq!(time("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(time("1h30m"), Ok(Duration::from_mins(90)));
        for text in ["30", "d", "-1h", "soon"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
