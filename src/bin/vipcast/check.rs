//! Probes the services now: by the daemon if it runs, else by ourselves.
#![expect(clippy::disallowed_methods, reason = "driver: a timer")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use vipcast::check::driver::{Command, Generation, spawn};
use vipcast::check::{self, Check, CheckId, Outcome};
use vipcast::config::{self, Config};
use vipcast::control::client::{self, Error};
use vipcast::control::render::{self, Probed, Style};
use vipcast::daemon;
use vipcast::route::ServiceName;

/// How much longer than its timeout a probe may take to be heard of.
const MARGIN: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Do it without the daemon, with this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Arguments {
    /// Probes; what is to be printed, and whether all is well.
    pub(crate) async fn run(
        self,
        directory: &Path,
        style: Style,
    ) -> Result<(String, bool), String> {
        let only: Vec<ServiceName> = self.services.into_iter().map(Into::into).collect();
        let probed = match self.config {
            Some(path) => probe(&path, &only).await?,
            None => match ask(directory, &only).await {
                Err(Error::NotRunning { .. }) => {
                    // Nobody may be reading.
                    let text = "vipcastd is not running: probing without it";
                    let _ = writeln!(std::io::stderr(), "{text}");
                    probe(Path::new(daemon::CONFIG), &only).await?
                }
                asked => asked.map_err(|error| error.to_string())?,
            },
        };
        let is_good = probed.iter().all(|probed| matches!(probed.result, Some((_, None))));
        Ok((render::probed(&probed, style), is_good))
    }
}

/// Lets the daemon do it.
async fn ask(directory: &Path, only: &[ServiceName]) -> Result<Vec<Probed>, Error> {
    let services = client::probe(directory, only).await?;
    let probed = services.into_iter().flat_map(|service| {
        let name = service.name;
        service.checks.into_iter().map(move |check| Probed {
            service: name.clone(),
            check: check.name,
            probe: check.probe,
            result: check.last.map(|last| (last.duration, last.error)),
        })
    });
    Ok(probed.collect())
}

/// Does it by ourselves: as the user that we are, and with the VIPs as they are.
async fn probe(path: &Path, only: &[ServiceName]) -> Result<Vec<Probed>, String> {
    let config = config::load(path).map_err(|error| error.to_string())?;
    let mut checks = chosen(&config, only)?;
    check::trust::install_provider();
    let longest = checks.values().map(|(check, _)| check.timeout).max().unwrap_or_default();
    let (sender, mut reports) = mpsc::channel(checks.len().max(1));
    let driver = spawn(0, sender).map_err(|error| error.to_string())?;
    for (id, (check, _)) in &checks {
        driver.send(Command::Start(id.clone(), check.clone(), Generation(0)));
    }
    let all_heard = async {
        while checks.values().any(|(_, outcome)| outcome.is_none())
            && let Some(report) = reports.recv().await
        {
            driver.send(Command::Stop(report.id.clone()));
            if let Some((_, outcome)) = checks.get_mut(&report.id) {
                *outcome = Some(report.outcome);
            }
        }
    };
    // What is not there by then has no result.
    let _ = tokio::time::timeout(longest + MARGIN, all_heard).await;
    let probed = checks.into_iter().map(|(CheckId { service, check: name }, (check, outcome))| {
        let result = outcome.map(|outcome| {
            let took = outcome.finished.saturating_duration_since(outcome.started).as_secs_f64();
            (took, outcome.result.err().map(|failure| failure.to_string()))
        });
        Probed { service, check: name, probe: check.probe.to_string(), result }
    });
    Ok(probed.collect())
}

type Checks = BTreeMap<CheckId, (Arc<Check>, Option<Outcome>)>;

fn chosen(config: &Config, only: &[ServiceName]) -> Result<Checks, String> {
    if let Some(name) = only.iter().find(|name| !config.services.contains_key(*name)) {
        let known: Vec<_> = config.services.keys().map(AsRef::as_ref).collect();
        return Err(format!("no service {name}; there are: {}", known.join(", ")));
    }
    let services = config.services.iter();
    let services = services.filter(|(name, _)| only.is_empty() || only.contains(name));
    let checks = services.flat_map(|(service, config)| {
        config.checks.iter().map(|(name, check)| {
            let id = CheckId { service: service.clone(), check: name.clone() };
            (id, (check.check.clone(), None))
        })
    });
    Ok(checks.collect())
}
