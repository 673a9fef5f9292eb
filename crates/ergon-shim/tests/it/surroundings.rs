//! What a command finds around it: credentials in its home, and a network or none.

use std::os::unix::fs::PermissionsExt;

use ergon_wire::{Credential, CredentialUsage, Credentials, Exit, StepPlan};

use crate::harness::Place;

#[test]
fn credentials_are_in_their_folder_and_at_home() {
    let place = Place::new();
    let secret = place.path("secrets/key");
    std::fs::create_dir_all(&secret).unwrap();
    std::fs::write(secret.join("ssh-privatekey"), "private").unwrap();
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let credentials = Credentials {
        dir: path("creds"),
        secrets_dir: path("secrets"),
        entries: vec![Credential {
            secret: "key".to_owned(),
            usage: CredentialUsage::GitSsh { url: "git.example".to_owned() },
        }],
    };
    let script = "test $HOME = $PLACE/home; cat $HOME/.ssh/id_key $PLACE/creds/.ssh/id_key > $PLACE/results/digest; test ! -e $HOME/.docker";
    let step = StepPlan { credentials: Some(credentials), ..place.script(script) };
    let ended = place.start_with(step, &[("HOME", &path("home"))]).finish();
    let record = ended.record.unwrap();
    assert_eq!(record.exit, Exit::Exited { code: 0 });
    assert_eq!(record.results[0].value, "privateprivate");
    for folder in ["creds", "home"] {
        let mode = |name: &str| {
            let meta = std::fs::metadata(place.path(folder).join(name)).unwrap();
            meta.permissions().mode() & 0o777
        };
        assert_eq!((mode(".ssh"), mode(".ssh/id_key")), (0o700, 0o600));
    }
}

#[test]
fn a_secret_without_its_key_is_told() {
    let place = Place::new();
    let credentials = Credentials {
        dir: place.path("creds").to_str().unwrap().to_owned(),
        secrets_dir: place.path("secrets").to_str().unwrap().to_owned(),
        entries: vec![Credential {
            secret: "user".to_owned(),
            usage: CredentialUsage::GitBasic { url: "https://git.example".to_owned() },
        }],
    };
    let record =
        place.play(StepPlan { credentials: Some(credentials), ..place.script("true") }).record.unwrap();
    let Exit::NotStarted { message } = record.exit else { panic!("{:?}", record.exit) };
    assert!(message.starts_with("the key `username` of the secret `user` cannot be read: "), "{message}");
}

#[test]
fn a_hermetic_step_has_another_network_or_does_not_run() {
    let place = Place::new();
    let script = "readlink /proc/self/ns/net > $PLACE/results/digest";
    let record = place.play(StepPlan { hermetic: true, ..place.script(script) }).record.unwrap();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    match record.exit {
        Exit::Exited { code: 0 } => assert_ne!(record.results[0].value.trim(), own.to_str().unwrap()),
        // Where no namespace can be made at all.
        Exit::NotStarted { message } => {
            assert!(
                message.starts_with("the step is to run without a network, and that cannot be taken"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}
