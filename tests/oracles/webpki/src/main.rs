// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! Oracle for what Linkerd's proxies accept: the crates and the signature algorithms of linkerd2-proxy
//! (linkerd/meshtls/src/creds.rs, linkerd/rustls/src/crypto.rs), which verify a workload's certificate as that of a
//! server and as that of a client.
//!
//! Reads one JSON request per line from standard input, and writes one JSON answer per line. The texts of an answer are
//! errors, and empty on success.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use base64::prelude::{Engine, BASE64_STANDARD};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use serde_json::{json, Value};
use webpki::{aws_lc_rs, EndEntityCert, KeyUsage};

static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    aws_lc_rs::ECDSA_P256_SHA256,
    aws_lc_rs::ECDSA_P256_SHA384,
    aws_lc_rs::ECDSA_P256_SHA512,
    aws_lc_rs::ECDSA_P384_SHA256,
    aws_lc_rs::ECDSA_P384_SHA384,
    aws_lc_rs::ECDSA_P384_SHA512,
    aws_lc_rs::ECDSA_P521_SHA256,
    aws_lc_rs::ECDSA_P521_SHA384,
    aws_lc_rs::ECDSA_P521_SHA512,
    aws_lc_rs::ED25519,
    aws_lc_rs::RSA_PKCS1_2048_8192_SHA256,
    aws_lc_rs::RSA_PKCS1_2048_8192_SHA384,
    aws_lc_rs::RSA_PKCS1_2048_8192_SHA512,
    aws_lc_rs::RSA_PKCS1_3072_8192_SHA384,
];

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().expect("base64 text")).expect("base64")
}

/// The proxy fails if a block of its anchors is broken, and skips a certificate that it cannot parse.
fn verify(request: &Value) -> Value {
    let read: Result<Vec<CertificateDer>, _> = CertificateDer::pem_slice_iter(&bytes(&request["anchors"])).collect();
    let certificates = match read {
        Ok(certificates) => certificates,
        Err(error) => return json!({"anchors": error.to_string(), "skipped": 0, "server": "", "client": "", "name": ""}),
    };
    let anchors: Vec<TrustAnchor> =
        certificates.iter().filter_map(|der| webpki::anchor_from_trusted_cert(der).ok()).collect();
    let problem = if anchors.is_empty() { "no trust roots loaded" } else { "" };
    let chain: Vec<CertificateDer> =
        request["chain"].as_array().expect("chain").iter().map(|der| CertificateDer::from(bytes(der))).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(request["at"].as_u64().expect("at")));
    let verify_for = |usage: KeyUsage| match EndEntityCert::try_from(&chain[0]) {
        Ok(workload) => workload
            .verify_for_usage(ALGORITHMS, &anchors, &chain[1..], time, usage, None, None)
            .map_or_else(|error| format!("{error:?}"), |_| String::new()),
        Err(error) => format!("{error:?}"),
    };
    let name = match (EndEntityCert::try_from(&chain[0]), ServerName::try_from(request["name"].as_str().unwrap_or(""))) {
        (Ok(workload), Ok(name)) => workload
            .verify_is_valid_for_subject_name(&name)
            .map_or_else(|error| format!("{error:?}"), |_| String::new()),
        _ => "no name".to_string(),
    };
    json!({
        "anchors": problem,
        "skipped": certificates.len() - anchors.len(),
        "server": verify_for(KeyUsage::server_auth()),
        "client": verify_for(KeyUsage::client_auth()),
        "name": name,
    })
}

fn main() {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line.expect("line")).expect("JSON");
        writeln!(out, "{}", verify(&request)).expect("write");
        out.flush().expect("flush");
    }
}
