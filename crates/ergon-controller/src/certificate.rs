//! The certificate of webhooks and reports: made by ourselves, kept in a Secret that all replicas share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::info;

use crate::sync::lock;

/// The Secret, in the controller's namespace.
pub const SECRET: &str = "ergon-webhook-cert";

/// An authority outlives many of its certificates: agents in running pods know it by heart.
const AUTHORITY_FOR: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
const CERTIFICATE_FOR: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Renewed this long before its end.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Clocks of others may be behind by so much.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

const NOT_AFTER: &str = "ergon.dev/not-after";
const AUTHORITY_NOT_AFTER: &str = "ergon.dev/authority-not-after";
const NAMES: &str = "ergon.dev/names";

const CA_CERT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CERT: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What a Secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// PEM, for those who must trust it.
    pub authority: String,
    authority_key: String,
    authority_not_after: Timestamp,
    certificate: String,
    key: String,
    not_after: Timestamp,
    /// The names that it is for, sorted.
    names: Vec<String>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error(
        "the certificate in Secret `{SECRET}` cannot be used: {0}; delete the Secret and a new one is made"
    )]
    Use(String),
    #[error("cannot read or write Secret `{SECRET}`")]
    Secret(#[source] kube::Error),
}

/// The certificate in the cluster, made or renewed first where that is needed.
pub async fn ensure(
    client: &Client,
    namespace: &str,
    names: &[String],
) -> Result<Material, CertificateError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    // A second replica may be at it too: whoever is slower takes what the faster one wrote.
    loop {
        let now = Timestamp::now();
        let found = api.get_opt(SECRET).await.map_err(CertificateError::Secret)?;
        let known = found.as_ref().and_then(read);
        let material = match &known {
            Some(known) if known.is_good(&names, now) => return Ok(known.clone()),
            Some(known) if known.authority_not_after > now + CERTIFICATE_FOR => known.renew(&names, now)?,
            _ => Material::make(&names, now)?,
        };
        let mut secret = write(&material);
        let outcome = match found {
            None => api.create(&PostParams::default(), &secret).await,
            Some(found) => {
                secret.metadata.resource_version = found.metadata.resource_version;
                api.replace(SECRET, &PostParams::default(), &secret).await
            }
        };
        match outcome {
            Ok(_) => {
                info!(not_after = %material.not_after, "wrote a new certificate into Secret `{SECRET}`");
                return Ok(material);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(CertificateError::Secret(error)),
        }
    }
}

impl Material {
    /// A new authority and a certificate of it.
    pub fn make(names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let not_after = now + AUTHORITY_FOR;
        let authority = authority_params(now, not_after)?.self_signed(&key)?;
        let draft = Self {
            authority: authority.pem(),
            authority_key: key.serialize_pem(),
            authority_not_after: not_after,
            certificate: String::new(),
            key: String::new(),
            not_after: now,
            names: Vec::new(),
        };
        draft.renew(names, now)
    }

    /// A new certificate of the same authority.
    fn renew(&self, names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        // The authority's name and key are all that a signature takes from it.
        let issuer = Issuer::new(authority_params(now, now)?, KeyPair::from_pem(&self.authority_key)?);
        let key = KeyPair::generate()?;
        let not_after = now + CERTIFICATE_FOR;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = named("ergon-controller");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, not_after);
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            not_after,
            names: names.to_vec(),
            ..self.clone()
        })
    }

    fn is_good(&self, names: &[String], now: Timestamp) -> bool {
        self.not_after > now + RENEW_BEFORE
            && self.authority_not_after > now + RENEW_BEFORE
            && names.iter().all(|name| self.names.contains(name))
    }

    /// What rustls serves with.
    fn certified(&self) -> Result<CertifiedKey, CertificateError> {
        let unusable = |error: &dyn std::fmt::Display| CertificateError::Use(error.to_string());
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(&error))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| unusable(&error))?;
        CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
            .map_err(|error| unusable(&error))
    }
}

fn authority_params(now: Timestamp, not_after: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name = named("ergon-controller CA");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, not_after);
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn valid(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let day = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).unwrap_or(1),
            u8::try_from(date.day()).unwrap_or(1),
        )
    };
    params.not_before = day(now - BACKDATED);
    // Whole days: a day more, so that it is never over before it says it is.
    params.not_after = day(not_after + SignedDuration::from_hours(24));
}

fn read(secret: &Secret) -> Option<Material> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    let annotations = secret.metadata.annotations.as_ref()?;
    let time = |key: &str| annotations.get(key)?.parse().ok();
    Some(Material {
        authority: text(CA_CERT)?,
        authority_key: text(CA_KEY)?,
        authority_not_after: time(AUTHORITY_NOT_AFTER)?,
        certificate: text(CERT)?,
        key: text(KEY)?,
        not_after: time(NOT_AFTER)?,
        names: annotations.get(NAMES)?.split(',').map(ToOwned::to_owned).collect(),
    })
}

fn write(material: &Material) -> Secret {
    let data = [
        (CA_CERT, &material.authority),
        (CA_KEY, &material.authority_key),
        (CERT, &material.certificate),
        (KEY, &material.key),
    ];
    let annotations = [
        (NOT_AFTER, material.not_after.to_string()),
        (AUTHORITY_NOT_AFTER, material.authority_not_after.to_string()),
        (NAMES, material.names.join(",")),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            annotations: Some(
                annotations
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<BTreeMap<_, _>>(),
            ),
            labels: Some([("app.kubernetes.io/part-of".to_owned(), "ergon".to_owned())].into()),
            ..Default::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            data.into_iter()
                .map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
                .collect(),
        ),
        ..Default::default()
    }
}

/// The certificate that is served now: it can change while connections come in.
#[derive(Debug)]
pub struct Served {
    key: Mutex<Arc<CertifiedKey>>,
}

impl Served {
    pub fn new(material: &Material) -> Result<Self, CertificateError> {
        Ok(Self { key: Mutex::new(Arc::new(material.certified()?)) })
    }

    /// Serves new connections with this one.
    pub fn replace(&self, material: &Material) -> Result<(), CertificateError> {
        *lock(&self.key) = Arc::new(material.certified()?);
        Ok(())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&lock(&self.key)))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{RootCertStore, client::danger::ServerCertVerifier};

    use super::*;

    fn names() -> Vec<String> {
        vec!["ergon-controller.ergon-system.svc".to_owned(), "10.42.0.1".to_owned()]
    }

    fn trusts(authority: &str, material: &Material, name: &'static str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(certificate.expect("PEM"))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        let certified = material.certified().expect("usable");
        verifier
            .verify_server_cert(
                certified.end_entity_cert().expect("a certificate"),
                &[],
                &ServerName::try_from(name).expect("a name"),
                &[],
                UnixTime::now(),
            )
            .map(|_| ())
    }

    #[test]
    fn clients_that_know_the_authority_trust_the_certificate_for_its_names() {
        let material = Material::make(&names(), Timestamp::now()).expect("made");
        trusts(&material.authority, &material, "ergon-controller.ergon-system.svc").expect("trusted");
        trusts(&material.authority, &material, "10.42.0.1").expect("trusted");
        trusts(&material.authority, &material, "elsewhere.svc").expect_err("another name");
        let other = Material::make(&names(), Timestamp::now()).expect("made");
        trusts(&other.authority, &material, "10.42.0.1").expect_err("another authority");
    }

    #[test]
    fn a_renewed_certificate_has_the_same_authority() {
        let now = Timestamp::now();
        let first = Material::make(&names(), now).expect("made");
        let second = first.renew(&names(), now).expect("renewed");
        assert_ne!(first.certificate, second.certificate);
        trusts(&first.authority, &second, "10.42.0.1").expect("trusted");
    }

    #[test]
    fn it_is_renewed_before_its_end_and_for_new_names() {
        let now = Timestamp::now();
        let material = Material::make(&names(), now).expect("made");
        assert!(material.is_good(&names(), now));
        assert!(material.is_good(&names()[..1], now));
        assert!(!material.is_good(&["new.svc".to_owned()], now));
        assert!(!material.is_good(&names(), now + SignedDuration::from_hours(300 * 24)));
    }

    #[test]
    fn a_secret_keeps_everything() {
        let material = Material::make(&names(), Timestamp::now()).expect("made");
        assert_eq!(read(&write(&material)), Some(material));
        assert_eq!(read(&Secret::default()), None);
    }
}
