//! Installs Ergon from an image into the cluster of the usual kubeconfig: `install IMAGE [--uninstall | --definitions]`.

use ergon_controller::install::{self, InstallOptions, Step};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let image = arguments.first().cloned().ok_or("name an image")?;
    let policy = image.starts_with("localhost/").then(|| "Never".to_owned());
    let options = InstallOptions { image, image_pull_policy: policy, ..Default::default() };
    let client = kube::Client::try_default().await?;
    let told = |step: Step| print(&format!("{step:?}"));
    match arguments.get(1).map(String::as_str) {
        Some("--uninstall") => install::uninstall(&client, &options, true, told).await?,
        Some("--definitions") => install::definitions(&client, &options, told).await?,
        _ => install::apply(&client, &options, told).await?,
    }
    Ok(())
}

fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
