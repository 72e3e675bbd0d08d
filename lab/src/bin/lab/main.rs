//! The command `lab`: the fabric that stays (`up`, `status`, `down`), the demo and the benchmark.

#![forbid(unsafe_code)]

mod bench;
mod demo;
mod interrupt;
mod standing;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use vipcast_lab::fabric::TorConfig;
use vipcast_lab::router::Kind;

const USAGE: &str = "\
usage: lab up [--hosts N] [--tors KIND,KIND] [--binaries DIR] [--name NAME]
       lab status [--name NAME]
       lab down [--name NAME]
       lab demo --binaries DIR [--pause]
       lab bench --binaries DIR [--runs N] [--seconds N] [--only PART,PART] [--tors KIND,KIND]
                 [--json FILE]

up makes a fabric of routers (KIND: bird, frr, gobgp; default bird,frr) and hosts (default 3), starts
vipcastd on each host if it is in DIR, and leaves everything running. status says what is there and
how to look around. down removes it.

demo shows in such a fabric what happens when a service fails, a host dies and a daemon is stopped.
With --pause it waits for Enter before each step.

bench measures (PART: decision, start, death, scale, table, resources, bfd; default all), each N times
(default 10), resources and flaps of BFD for N seconds (default 60); KIND is bird or frr. --json writes all measured
values into a file, or with - to standard output in place of the table.";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let verb = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let is_help = |word: &String| matches!(word.as_str(), "--help" | "-h");
    let outcome = match verb.as_str() {
        _ if is_help(&verb) || words.iter().any(is_help) => Ok(print(&format!("{USAGE}\n"))),
        "up" => standing::Order::parse(words).map(|order| standing::up(&order)),
        "status" => standing::Order::parse(words).map(|order| standing::status(&order)),
        "down" => standing::Order::parse(words).map(|order| standing::down(&order)),
        "demo" => demo::Order::parse(words).map(|order| demo::run(&order)),
        "bench" => bench::Order::parse(words).map(|order| bench::run(&order)),
        "" => Err(anyhow!("what shall I do?")),
        _ => Err(anyhow!("I know no {verb:?}")),
    };
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("lab: {error:#}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The value of an option, which must follow it.
fn value(option: &str, words: &mut impl Iterator<Item = String>) -> Result<String> {
    words.next().with_context(|| format!("{option} needs a value"))
}

/// A directory with programs in it.
fn directory(value: &str) -> Result<PathBuf> {
    std::fs::canonicalize(value).with_context(|| format!("no {value}"))
}

fn kind(name: &str) -> Result<Kind> {
    let known = [Kind::Bird, Kind::Frr, Kind::Gobgp].into_iter().find(|kind| kind.name() == name);
    known.with_context(|| format!("I know no router {name:?}"))
}

fn tor(name: &str) -> Result<TorConfig> {
    kind(name).map(TorConfig::new)
}

fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.context("cannot write to standard output")
}
