//! Credentials for git, ssh and registries: files in the step's home, made from the Secrets that its container mounts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use ergon_wire::{CredentialUsage, Credentials};
use serde_json::{Map, Value, json};

use crate::say;

/// What is copied from the folder of credentials to the home.
const PARTS: [&str; 4] = [".docker", ".gitconfig", ".git-credentials", ".ssh"];
const SSH_PORT: &str = "22";

/// Makes the files, and copies them to the home. A home that cannot be written to is told in the log and no failure:
/// the files are in their own folder too.
///
/// # Errors
/// Why the files cannot be made: a fragment for people.
pub(crate) fn place(credentials: &Credentials) -> Result<(), String> {
    let dir = Path::new(&credentials.dir);
    for (path, text) in files(credentials)? {
        write(&dir.join(&path), text.as_bytes()).map_err(|error| {
            format!("the credentials `{}` cannot be written: {error}", dir.join(path).display())
        })?;
    }
    let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from) else {
        say(&format_args!(
            "ergon: credentials are in `{}` alone: the container has no HOME to copy them to",
            dir.display()
        ));
        return Ok(());
    };
    if home != dir {
        for part in PARTS {
            if let Err(error) = copy(&dir.join(part), &home.join(part)) {
                say(&format_args!(
                    "ergon: warning: `{part}` cannot be copied from `{}` to `{}`: {error}",
                    dir.display(),
                    home.display()
                ));
            }
        }
    }
    Ok(())
}

/// Everything that is to be written, by its path below the folder of credentials.
fn files(credentials: &Credentials) -> Result<BTreeMap<PathBuf, String>, String> {
    let secrets = Secrets(Path::new(&credentials.secrets_dir));
    let mut git = Git::default();
    let mut auths = Map::new();
    let mut named_auths = Map::new();
    let mut keys: Vec<Key> = Vec::new();
    for entry in &credentials.entries {
        let secret = entry.secret.as_str();
        match &entry.usage {
            CredentialUsage::GitBasic { url } => {
                git.add(url, &secrets.read(secret, "username")?, &secrets.read(secret, "password")?);
            }
            CredentialUsage::GitSsh { url } => keys.push(Key {
                server: Server::of(url),
                secret,
                private: secrets.read(secret, "ssh-privatekey")?,
                known_hosts: secrets.read(secret, "known_hosts").ok(),
            }),
            CredentialUsage::DockerBasic { url } => {
                let (user, password) = (secrets.read(secret, "username")?, secrets.read(secret, "password")?);
                let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                named_auths.insert(
                    url.clone(),
                    json!({"username": user, "password": password, "auth": auth, "email": "not@val.id"}),
                );
            }
            CredentialUsage::DockerConfigJson => {
                if let Value::Object(found) = secrets.json(secret, ".dockerconfigjson")?["auths"].take() {
                    auths.extend(found);
                }
            }
            CredentialUsage::DockerConfig => {
                if let Value::Object(found) = secrets.json(secret, ".dockercfg")? {
                    auths.extend(found);
                }
            }
        }
    }
    // What a Secret is annotated for wins over what stands in a whole file.
    auths.extend(named_auths);
    let mut files = BTreeMap::new();
    if !auths.is_empty() {
        files.insert(PathBuf::from(".docker/config.json"), json!({"auths": auths}).to_string());
    }
    let aliases = ssh(keys, Path::new(&credentials.dir), &mut files);
    if !git.credentials.is_empty() {
        files.insert(PathBuf::from(".git-credentials"), git.credentials());
    }
    let config = git.config() + &aliases;
    if !config.is_empty() {
        files.insert(PathBuf::from(".gitconfig"), config);
    }
    Ok(files)
}

/// The mounted Secrets.
struct Secrets<'a>(&'a Path);

impl Secrets<'_> {
    fn read(&self, secret: &str, key: &str) -> Result<String, String> {
        std::fs::read_to_string(self.0.join(secret).join(key))
            .map_err(|error| format!("the key `{key}` of the secret `{secret}` cannot be read: {error}"))
    }

    fn json(&self, secret: &str, key: &str) -> Result<Value, String> {
        serde_json::from_str(&self.read(secret, key)?)
            .map_err(|error| format!("the key `{key}` of the secret `{secret}` is no JSON: {error}"))
    }
}

/// Names and passwords for git over HTTP.
#[derive(Default)]
struct Git {
    /// URL, user, and the URL with user and password in it.
    credentials: Vec<(String, String, String)>,
}

impl Git {
    fn add(&mut self, url: &str, user: &str, password: &str) {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let path = path.map(|path| format!("/{path}")).unwrap_or_default();
        let with_password = format!("{scheme}://{}:{}@{host}{path}", escaped(user), escaped(password));
        self.credentials.push((url.to_owned(), user.to_owned(), with_password));
    }

    fn config(&self) -> String {
        if self.credentials.is_empty() {
            return String::new();
        }
        let mut config = "[credential]\n\thelper = store\n".to_owned();
        for (url, user, _) in &self.credentials {
            let user = user.replace('\\', "\\\\");
            let _ = write!(config, "[credential \"{url}\"]\n\tusername = {user}\n");
            if has_path(url) {
                config.push_str("\tuseHttpPath = true\n");
            }
        }
        config
    }

    /// Those of whole hosts first: git takes them where none of a repository fits.
    fn credentials(&self) -> String {
        let mut sorted: Vec<_> = self.credentials.iter().collect();
        sorted.sort_by_key(|(url, ..)| has_path(url));
        sorted.iter().flat_map(|(.., with_password)| [with_password.as_str(), "\n"]).collect()
    }
}

fn has_path(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').is_some_and(|(_, path)| !path.is_empty())
}

/// A name or password as it stands in a URL.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,;=".contains(&byte) {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A private key, and for which server.
struct Key<'a> {
    server: Server,
    secret: &'a str,
    private: String,
    known_hosts: Option<String>,
}

/// `host[:port][/path]`: with a path, the key is for one repository alone.
#[derive(Clone, PartialEq, Eq)]
struct Server {
    host: String,
    port: String,
    path: String,
}

impl Server {
    fn of(url: &str) -> Self {
        let (server, path) = url.split_once('/').unwrap_or((url, ""));
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
            _ => (server, SSH_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self { host: host.to_owned(), port: port.to_owned(), path: path.to_owned() }
    }

    /// The name by which ssh finds the key: a repository of its own gets a name of its own.
    fn alias(&self) -> String {
        if self.path.is_empty() {
            self.host.clone()
        } else {
            format!("{}--{}", self.host, self.path.replace('/', "--"))
        }
    }

    /// Has git go by that name when it is to reach the repository.
    fn rewrites(&self) -> String {
        if self.path.is_empty() {
            return String::new();
        }
        let (alias, host, path) = (self.alias(), &self.host, &self.path);
        let port = if self.port == SSH_PORT { String::new() } else { format!(":{}", self.port) };
        format!(
            "[url \"git@{alias}:{path}.git\"]\n\tinsteadOf = git@{host}:{path}.git\n\
             [url \"ssh://{alias}/{path}.git\"]\n\tinsteadOf = ssh://{host}{port}/{path}.git\n"
        )
    }
}

/// Adds ssh's files. Gives what git must know of them.
fn ssh(keys: Vec<Key<'_>>, dir: &Path, files: &mut BTreeMap<PathBuf, String>) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut servers: Vec<Server> = Vec::new();
    for key in &keys {
        if !servers.contains(&key.server) {
            servers.push(key.server.clone());
        }
    }
    // ssh goes by what it reads first; git's rewriting keeps the repositories' names apart.
    servers.sort_by_key(|server| !server.path.is_empty());
    let (mut config, mut known_hosts, mut rewrites) = (String::new(), Vec::new(), String::new());
    for server in &servers {
        let _ = write!(
            config,
            "Host {}\n    HostName {}\n    Port {}\n",
            server.alias(),
            server.host,
            server.port
        );
        for key in keys.iter().filter(|key| key.server == *server) {
            let _ = writeln!(config, "    IdentityFile {}/.ssh/id_{}", dir.display(), key.secret);
            known_hosts.extend(key.known_hosts.clone());
        }
        rewrites += &server.rewrites();
    }
    files.insert(PathBuf::from(".ssh/config"), config);
    if !known_hosts.is_empty() {
        files.insert(PathBuf::from(".ssh/known_hosts"), known_hosts.join("\n"));
    }
    for key in keys {
        files.insert(PathBuf::from(format!(".ssh/id_{}", key.secret)), key.private);
    }
    rewrites
}

/// Writes a file that only its owner can read, and the folders above it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// Copies a file, or a folder with all that is in it. What is not there is not copied.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = match from.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    if !meta.is_dir() {
        return write(to, &std::fs::read(from)?);
    }
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ergon_wire::Credential;

    use super::*;

    fn made(
        secrets: &[(&str, &[(&str, &str)])],
        entries: &[(&str, CredentialUsage)],
    ) -> BTreeMap<String, String> {
        let directory = tempfile::tempdir().unwrap();
        for (secret, keys) in secrets {
            for (key, text) in *keys {
                write(&directory.path().join(secret).join(key), text.as_bytes()).unwrap();
            }
        }
        let credentials = Credentials {
            dir: "/creds".to_owned(),
            secrets_dir: directory.path().to_str().unwrap().to_owned(),
            entries: entries
                .iter()
                .map(|(secret, usage)| Credential { secret: (*secret).to_owned(), usage: usage.clone() })
                .collect(),
        };
        let files = files(&credentials).unwrap();
        files.into_iter().map(|(path, text)| (path.display().to_string(), text)).collect()
    }

    #[test]
    fn git_over_http() {
        let basic = |url: &str| CredentialUsage::GitBasic { url: url.to_owned() };
        let files = made(
            &[
                ("a", &[("username", "us\\er"), ("password", "p@ss/w:rd")]),
                ("b", &[("username", "u"), ("password", "p")]),
            ],
            &[("a", basic("https://git.example/org/repo")), ("b", basic("https://git.example"))],
        );
        assert_eq!(
            files[".gitconfig"],
            "[credential]\n\thelper = store\n\
             [credential \"https://git.example/org/repo\"]\n\tusername = us\\\\er\n\tuseHttpPath = true\n\
             [credential \"https://git.example\"]\n\tusername = u\n"
        );
        assert_eq!(
            files[".git-credentials"],
            "https://u:p@git.example\nhttps://us%5Cer:p%40ss%2Fw%3Ard@git.example/org/repo\n"
        );
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn git_over_ssh() {
        let ssh = |url: &str| CredentialUsage::GitSsh { url: url.to_owned() };
        let files = made(
            &[
                ("a", &[("ssh-privatekey", "A"), ("known_hosts", "ha")]),
                ("b", &[("ssh-privatekey", "B")]),
                ("c", &[("ssh-privatekey", "C"), ("known_hosts", "hc")]),
            ],
            &[("b", ssh("git.example:2222/org/repo")), ("a", ssh("git.example")), ("c", ssh("git.example"))],
        );
        assert_eq!(
            files[".ssh/config"],
            "Host git.example\n    HostName git.example\n    Port 22\n    IdentityFile /creds/.ssh/id_a\n    IdentityFile /creds/.ssh/id_c\n\
             Host git.example--org--repo\n    HostName git.example\n    Port 2222\n    IdentityFile /creds/.ssh/id_b\n"
        );
        assert_eq!((files[".ssh/id_a"].as_str(), files[".ssh/known_hosts"].as_str()), ("A", "ha\nhc"));
        assert_eq!(
            files[".gitconfig"],
            "[url \"git@git.example--org--repo:org/repo.git\"]\n\tinsteadOf = git@git.example:org/repo.git\n\
             [url \"ssh://git.example--org--repo/org/repo.git\"]\n\tinsteadOf = ssh://git.example:2222/org/repo.git\n"
        );
    }

    #[test]
    fn registries() {
        let files = made(
            &[
                (
                    "file",
                    &[(
                        ".dockerconfigjson",
                        r#"{"auths": {"r1": {"auth": "x"}, "r2": {"identitytoken": "t"}}}"#,
                    )],
                ),
                ("old", &[(".dockercfg", r#"{"r3": {"auth": "y"}}"#)]),
                ("named", &[("username", "u"), ("password", "p")]),
            ],
            &[
                ("named", CredentialUsage::DockerBasic { url: "r1".to_owned() }),
                ("file", CredentialUsage::DockerConfigJson),
                ("old", CredentialUsage::DockerConfig),
            ],
        );
        let config: Value = serde_json::from_str(&files[".docker/config.json"]).unwrap();
        assert_eq!(
            config,
            json!({"auths": {
                "r1": {"username": "u", "password": "p", "auth": "dTpw", "email": "not@val.id"},
                "r2": {"identitytoken": "t"},
                "r3": {"auth": "y"},
            }})
        );
    }
}
