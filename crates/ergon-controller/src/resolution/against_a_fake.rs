//! The cluster resolver against an API server in memory, with the settings of an installation.

use std::collections::BTreeMap;

use ergon_api::config::ConfigName;
use ergon_api::{Group, Param};
use ergon_engine::remote::Request;
use serde_json::{Value, json};

use super::*;
use crate::fake::Fake;

fn world() -> (Fake, Resolutions) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fake = Fake::default();
    let resolutions = Resolutions::new(fake.client(), Arc::default(), Arc::default());
    (fake, resolutions)
}

fn request(params: &[(&str, &str)]) -> Request {
    let params = params.iter().map(|(name, value)| Param::string(*name, *value)).collect();
    Request { resolver: "cluster".to_owned(), url: None, params }
}

fn set(fake: &Fake, map: &str, data: &Value) {
    let path = format!("/api/v1/namespaces/tekton-pipelines-resolvers/configmaps/{map}");
    fake.put(
        &path,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map}, "data": data}),
    );
}

#[tokio::test]
async fn every_kind_and_both_groups() {
    let (fake, resolutions) = world();
    for (group, version, plural, kind) in [
        ("tekton.dev", "v1", "tasks", "Task"),
        ("tekton.dev", "v1", "pipelines", "Pipeline"),
        ("tekton.dev", "v1beta1", "stepactions", "StepAction"),
        ("ergon.dev", "v1", "tasks", "Task"),
    ] {
        let api_version = format!("{group}/{version}");
        let path = format!("/apis/{api_version}/namespaces/far/{plural}/x");
        let metadata = json!({"name": "x", "uid": "u", "managedFields": [{"manager": "m"}]});
        fake.put(&path, json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": {}}));
    }
    for (group, kind, expected) in [
        (Group::Tekton, "task", "/apis/tekton.dev/v1/namespaces/far/task/x@u"),
        (Group::Tekton, "pipeline", "/apis/tekton.dev/v1/namespaces/far/pipeline/x@u"),
        (Group::Tekton, "stepaction", "/apis/tekton.dev/v1beta1/namespaces/far/stepaction/x@u"),
        (Group::Ergon, "task", "/apis/ergon.dev/v1/namespaces/far/task/x@u"),
    ] {
        // Remembered or not: a run of one group is never given what one of the other has asked for.
        for mode in ["always", "never", "always"] {
            let params = [("kind", kind), ("name", "x"), ("namespace", "far"), ("cache", mode)];
            let found = resolutions.resolve("ns", group, &request(&params)).await.expect("is there");
            assert_eq!(found.source.uri.as_deref(), Some(expected));
            assert!(!String::from_utf8_lossy(&found.data).contains("managedFields"));
        }
    }
}

#[tokio::test]
async fn settings_of_the_installation() {
    let (fake, resolutions) = world();
    for namespace in ["open", "shut", "other"] {
        let path = format!("/apis/tekton.dev/v1/namespaces/{namespace}/tasks/t");
        fake.put(&path, json!({"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t"}}));
    }
    let ask = async |namespace: &str| {
        let asked = request(&[("name", "t"), ("namespace", namespace)]);
        resolutions.resolve("ns", Group::Tekton, &asked).await.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(ask("shut").await, Ok(()));
    set(&fake, "cluster-resolver-config", &json!({"default-kind": "task", "blocked-namespaces": "shut"}));
    assert_eq!(ask("shut").await, Err("access to specified namespace shut is blocked".to_owned()));
    assert_eq!(ask("open").await, Ok(()));
    set(
        &fake,
        "cluster-resolver-config",
        &json!({"default-kind": "task", "default-namespace": "open", "allowed-namespaces": "open"}),
    );
    assert_eq!(ask("").await, Ok(()), "the default");
    assert_eq!(ask("other").await, Err("access to specified namespace other is not allowed".to_owned()));
    set(&fake, "resolvers-feature-flags", &json!({"enable-cluster-resolver": "false"}));
    assert_eq!(
        ask("open").await,
        Err("cannot handle resolution request, enable-cluster-resolver feature flag not true".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_installation_allows() {
    let (fake, resolutions) = world();
    set(&fake, "http-resolver-config", &json!({"fetch-timeout": "10m"}));
    let data = [("default-maximum-resolution-timeout".to_owned(), "3s".to_owned())];
    let problems = resolutions.inner.settings.take(ConfigName::Defaults, &BTreeMap::from(data));
    assert!(problems.is_empty(), "{problems:?}");
    // A server that takes connections and says nothing.
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", server.local_addr().expect("an address"));
    let asked = Request { resolver: "http".to_owned(), ..request(&[("url", &url)]) };
    let error = resolutions.resolve("ns", Group::Tekton, &asked).await.expect_err("no answer");
    assert_eq!(error.to_string(), "resolution took longer than global timeout of 3s");
}
