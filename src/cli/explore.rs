//! `explore`: stateright's Explorer for the specification that a scenario asks for, on the loopback interface.

use super::Failure;
use crate::scenario::{self, Subject};
use model::catalogue::Visitor;
use model::check::Spec;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

pub(super) fn explore(file: &Path, port: u16) -> Result<u8, Failure> {
    let scenario = scenario::load(file)?;
    let (_, question) = scenario.question(Subject::Model).ok_or_else(|| Failure {
        code: 2,
        text: format!(
            "{}: model: is missing, so there is no specification to explore",
            file.display()
        ),
    })?;
    let busy = |error: std::io::Error| Failure::machine(&format!("cannot listen on 127.0.0.1:{port}"), &error);
    // The Explorer panics where it cannot listen, so this is found out before. Port 0 becomes a free one.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(|listener| listener.local_addr())
        .map_err(busy)?
        .port();
    println!(
        "http://127.0.0.1:{port}/ shows {} ({}); end it with Ctrl-C",
        scenario.name, question.spec
    );
    Subject::Model
        .open(&question, Explorer { port })
        .map_err(|wrong| Failure {
            code: 2,
            text: format!("{}: model.{wrong}", file.display()),
        })?;
    Ok(0)
}

struct Explorer {
    port: u16,
}

impl Visitor for Explorer {
    type Output = ();

    fn visit<S: Spec + 'static>(self, spec: S) {
        // Serves until the process ends.
        let _ = spec.checker().serve((Ipv4Addr::LOCALHOST, self.port));
    }
}
