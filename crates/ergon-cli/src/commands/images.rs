//! `ergon images`: the images that local runs use.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ergon_local::{ImageError, Store};
use serde_json::json;

use super::run::home;
use crate::args::Output;
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::render::{Style, Table, bytes};

/// Lists and imports the images of local runs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  ergon images list
  ergon images import busybox.tar --name localhost/busybox:1")]
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
    let store = Store::open(home()?.join("images")).map_err(|error| failure(&error))?;
    match args.action {
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

fn list(store: &Store, output: Output, console: Console) -> Result {
    let images = store.list().map_err(|error| failure(&error))?;
    let values = || -> Vec<_> {
        images
            .iter()
            .map(|image| json!({"reference": image.reference, "digest": image.digest, "sizeBytes": image.size}))
            .collect()
    };
    match output {
        Output::Table if images.is_empty() => {
            console.say("no images");
            console.hint("`ergon run` pulls what it needs; `ergon images import FILE` brings in an archive");
            Ok(())
        }
        Output::Table => {
            let rows =
                images.iter().map(|image| (image.reference.as_str(), image.digest.as_str(), image.size));
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

fn table<'a>(images: impl Iterator<Item = (&'a str, &'a str, u64)>, style: Style) -> String {
    let mut table = Table::new(&["IMAGE", "DIGEST", "SIZE"]);
    for (reference, digest, size) in images {
        let short: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
        table.row(vec![reference.to_owned(), short, bytes(size)]);
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
            table([("localhost/a:1", digest, 3 << 20)].into_iter(), Style::PLAIN),
            "IMAGE          DIGEST        SIZE\nlocalhost/a:1  0123456789ab  3.0 MiB\n"
        );
    }
}
