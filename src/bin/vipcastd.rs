//! `vipcastd`: the daemon.
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vipcast::daemon;

/// EX_CONFIG of sysexits(3).
const BAD_CONFIG: u8 = 78;

/// Announces the VIPs of healthy local services to the routers.
#[derive(Debug, Parser)]
#[command(name = "vipcastd", version, after_help = "See vipcastd(8) and vipcast.toml(5).")]
struct Arguments {
    /// The configuration; conf.d/*.toml beside it is read too
    #[arg(long, value_name = "FILE", default_value = daemon::CONFIG)]
    config: PathBuf,

    /// Say what is wrong with a configuration, and do nothing else
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "config")]
    check: Option<Option<PathBuf>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(file) = arguments.check {
        return check(&file.unwrap_or_else(|| daemon::CONFIG.into()));
    }
    match daemon::run(&arguments.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            match error {
                daemon::Error::Config(_) => ExitCode::from(BAD_CONFIG),
                daemon::Error::System { .. } => ExitCode::FAILURE,
            }
        }
    }
}

fn check(file: &std::path::Path) -> ExitCode {
    match vipcast::config::load(file) {
        Ok(config) => {
            let count =
                |number, noun| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
            let peers = count(config.peers.len(), "peer");
            let services = count(config.services.len(), "service");
            let text = format!("{}: valid: {peers}, {services}", file.display());
            // Nobody may be reading.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(BAD_CONFIG)
        }
    }
}

fn complain(error: &dyn std::fmt::Display) {
    // Nobody may be reading.
    let _ = writeln!(std::io::stderr(), "{error}");
}
