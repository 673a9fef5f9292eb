//! Carrying git's protocol: over HTTP, or to the `git` program for a folder of this machine.

use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::fetch::GitError;
use crate::web::Caller;

/// No more bytes are read of one answer.
const MOST_BYTES: usize = 64 << 20;
const SERVICE: &str = "/info/refs?service=git-upload-pack";

/// Where a repository is.
pub(super) struct Transport<'a> {
    web: &'a Caller<'a>,
    /// The address, after redirects.
    base: String,
    url: String,
    authorization: Option<String>,
    folder: Option<String>,
}

impl<'a> Transport<'a> {
    pub fn new(web: &'a Caller<'a>, url: &str, token: Option<&str>) -> Self {
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        Self {
            web,
            base: url.trim_end_matches('/').to_owned(),
            url: url.to_owned(),
            authorization: token
                .map(|token| format!("Basic {}", BASE64_STANDARD.encode(format!("git:{token}")))),
            folder: (!is_web).then(|| url.strip_prefix("file://").unwrap_or(url).to_owned()),
        }
    }

    /// What the server can do.
    pub async fn greet(&mut self) -> Result<Vec<u8>, GitError> {
        if let Some(folder) = &self.folder {
            return upload_pack(folder, &["--advertise-refs"], &[]).await;
        }
        let url = format!("{}{SERVICE}", self.base);
        let page = self.web.get(&url, &self.headers(&[]), MOST_BYTES).await?;
        match page.status.as_u16() {
            200 => {}
            // Hosting services do not tell a repository that is not there from one that is private.
            401 | 403 => return Err(GitError::Unauthorized),
            404 => return Err(GitError::NotFound(self.url.clone())),
            _ => return Err(GitError::Refused(page.status.to_string())),
        }
        if let Some(base) = page.url.strip_suffix(SERVICE) {
            // The token is for the server that was named, and for no other that it sends us to.
            if !is_same_server(base, &self.base) {
                self.authorization = None;
            }
            base.clone_into(&mut self.base);
        }
        Ok(page.body)
    }

    /// One request and its answer.
    pub async fn ask(&self, body: Vec<u8>) -> Result<Vec<u8>, GitError> {
        if let Some(folder) = &self.folder {
            return upload_pack(folder, &[], &body).await;
        }
        let url = format!("{}/git-upload-pack", self.base);
        let headers = self.headers(&[
            ("content-type", "application/x-git-upload-pack-request"),
            ("accept", "application/x-git-upload-pack-result"),
        ]);
        let page = self.web.post(&url, &headers, &body, MOST_BYTES).await?;
        match page.status.as_u16() {
            200 => Ok(page.body),
            401 | 403 => Err(GitError::Unauthorized),
            _ => Err(GitError::Refused(page.status.to_string())),
        }
    }

    fn headers<'b>(&'b self, more: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        let mut headers = vec![("git-protocol", "version=2")];
        headers.extend(self.authorization.as_ref().map(|value| ("authorization", value.as_str())));
        headers.extend_from_slice(more);
        headers
    }
}

fn is_same_server(one: &str, other: &str) -> bool {
    let origin = |url: &str| reqwest::Url::parse(url).map(|url| url.origin());
    matches!((origin(one), origin(other)), (Ok(one), Ok(other)) if one == other)
}

async fn upload_pack(folder: &str, args: &[&str], body: &[u8]) -> Result<Vec<u8>, GitError> {
    let failed = |why: String| GitError::Program { folder: folder.to_owned(), why };
    let mut child = Command::new("git")
        .args(["upload-pack", "--stateless-rpc"])
        .args(args)
        .arg("--")
        .arg(folder)
        .env("GIT_PROTOCOL", "version=2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("the program `git` cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(body).await.map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
