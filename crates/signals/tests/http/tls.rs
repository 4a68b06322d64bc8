//! `https`: only the configured certificate authorities are trusted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use prunella_core::observation::{Answer, UnknownReason as Reason};
use rcgen::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::{AMPLE, client, install_provider, unknown};

/// Starts a source with a certificate for `host`. Returns its port and the certificate.
fn serve(host: &str) -> (u16, Vec<u8>) {
    install_provider();
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
            let body = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        }
    });
    (port, cert.pem().into_bytes())
}

async fn ask(port: u16, ca_pem: Vec<u8>) -> Answer {
    client(&format!("https://localhost:{port}"), |config| config.ca_pem = Some(ca_pem)).instant("up", AMPLE).await
}

#[tokio::test]
async fn a_source_with_the_configured_authority_is_trusted() {
    let (port, pem) = serve("localhost");
    assert_eq!(ask(port, pem).await, Answer::Answered(Vec::new()));
}

#[tokio::test]
async fn a_certificate_from_another_authority_is_not_trusted() {
    let (port, _) = serve("localhost");
    let (_, other) = serve("localhost");
    assert!(unknown(ask(port, other).await, Reason::Unreachable).contains("not trusted"));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_trusted() {
    let (port, pem) = serve("elsewhere");
    assert!(unknown(ask(port, pem).await, Reason::Unreachable).contains("not trusted"));
}
