//! TLS to an engine: who it must be, and who we say we are.

use crate::engine::CallError;
use crate::options::{BadOptions, Tls};
use crate::start::chain;
use bollard::errors::Error as ClientError;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// A client for an engine behind TLS. The files are read each time, so that renewed ones are used by the next connection.
pub fn connect(url: &str, seconds: u64, tls: &Tls) -> Result<Docker, CallError> {
    let config = config(tls).map_err(|err| CallError::Garbled(err.to_string()))?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let send = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(ClientError::from) }
    };
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    Ok(Docker::connect_with_custom_transport(
        send,
        Some(format!("https://{address}")),
        seconds,
        API_DEFAULT_VERSION,
    )?)
}

/// What the files say.
///
/// # Errors
/// [`BadOptions::Tls`] with the file that cannot be used.
pub fn config(tls: &Tls) -> Result<ClientConfig, BadOptions> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let failed =
        |path: &Path, err: &dyn std::error::Error| BadOptions::Tls { path: path.to_owned(), why: chain(err) };
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, BadOptions> {
        let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match all {
            Ok(all) if all.is_empty() => Err(BadOptions::Tls {
                path: path.to_owned(),
                why: "there is no certificate in it".to_owned(),
            }),
            all => all.map_err(|err| failed(path, &err)),
        }
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions");
    let builder = match &tls.authority {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|err| failed(path, &err))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    let Some(client) = &tls.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&client.cert)?;
    let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|err| failed(&client.key, &err))?;
    builder.with_client_auth_cert(chain, key).map_err(|err| failed(&client.key, &err))
}

/// Takes whoever answers for the engine, as long as it has the key of the certificate that it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
