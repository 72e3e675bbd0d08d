//! The `exec` probe: a program that says by its exit status whether the service is healthy.
use std::fmt;
use std::net::IpAddr;

use super::driver::{Followed, Wake};
use super::{CheckId, Failure, Kind, Probing, Progress, Run, Shared};
use crate::process::driver::Runner;
use crate::process::{Ended, Environment, Program, Status};

/// Which program, and what its exit status means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exec {
    /// What is run
    pub program: Program,
    /// By the rules of monitoring plugins: a warning (1) is healthy
    pub nagios: bool,
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exec {}", self.program)
    }
}

impl Kind for Exec {
    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new() // nobody knows
    }

    fn follows_service(&self) -> bool {
        true
    }

    fn prepare(&self, shared: &mut Shared, wake: Wake) -> Result<Box<dyn Run>, Failure> {
        let runner = Runner::new(self.program.clone());
        let service = shared.services.follow(&wake.id().service);
        Ok(Box::new(Prepared { exec: self.clone(), runner, id: wake.id().clone(), service }))
    }
}

/// A program and what it is told.
struct Prepared {
    exec: Exec,
    runner: Runner,
    id: CheckId,
    service: Followed,
}

impl Run for Prepared {
    fn run<'a>(&'a self, progress: &'a mut Progress) -> Probing<'a> {
        Box::pin(self.probe(progress))
    }
}

impl Prepared {
    async fn probe(&self, progress: &mut Progress) -> Result<(), Failure> {
        let path = self.exec.program.path.display();
        let stuck = format!("{path} was killed by the probe before and did not end");
        *progress = Progress::Mismatch(stuck);
        let turn = self.runner.turn().await;
        *progress = Progress::Mismatch(format!("{path} did not end"));
        let environment = Environment {
            service: self.id.service.clone(),
            check: Some(self.id.check.clone()),
            surroundings: self.service.now(),
            reason: None,
        };
        let ended = self.runner.run(turn, environment).await.map_err(Failure::new)?;
        self.exec.judge(ended)
    }
}

impl Exec {
    fn judge(&self, ended: Ended) -> Result<(), Failure> {
        match ended.status {
            Status::Exited(0) => Ok(()),
            Status::Exited(1) if self.nagios => Ok(()),
            // Behind the bar are numbers for graphs.
            Status::Exited(_) | Status::Killed(_) if self.nagios => {
                let line = ended.line.map(|line| {
                    line.split_once('|').map_or(line.as_str(), |(text, _)| text).trim().to_owned()
                });
                Err(Failure::new(Ended { line, ..ended }.to_string()))
            }
            Status::Exited(_) | Status::Killed(_) => Err(Failure::new(ended.to_string())),
        }
    }
}
