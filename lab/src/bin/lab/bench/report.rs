//! All that was measured, as a table and as JSON.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vipcast_lab::resources::{Machine, load};
use vipcast_lab::samples::{Samples, short};

/// The announcer that is measured.
pub(super) const VIPCAST: &str = "vipcastd";
/// The one it is compared with.
pub(super) const BIRD: &str = "BIRD";

/// The values of one quantity.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Which quantity, and under which circumstances; rows of the same are compared.
    pub(super) what: String,
    /// Whose.
    pub(super) announcer: &'static str,
    /// How it was measured, if there are several ways.
    pub(super) how: &'static str,
    /// Like `ms`.
    pub(super) unit: &'static str,
    /// What the median shall not exceed.
    pub(super) aim: Option<f64>,
    /// One for each run.
    pub(super) samples: Samples,
}

/// All rows, and where they were measured.
pub(super) struct Report {
    machine: Machine,
    versions: Vec<String>,
    load_before: f64,
    load_after: f64,
    rows: Vec<Row>,
}

impl Row {
    /// A time of vipcastd; the rest can be set.
    pub(super) fn of(what: impl Into<String>, samples: Samples) -> Self {
        let (announcer, how) = (VIPCAST, "");
        Self { what: what.into(), announcer, how, unit: "ms", aim: None, samples }
    }

    pub(super) fn bird(self) -> Self {
        Self { announcer: BIRD, ..self }
    }

    pub(super) fn how(self, how: &'static str) -> Self {
        Self { how, ..self }
    }

    pub(super) fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    pub(super) fn aim(self, aim: impl Into<Option<f64>>) -> Self {
        Self { aim: aim.into(), ..self }
    }

    fn name(&self) -> String {
        [self.announcer, self.how].join(" ").trim_end().to_owned()
    }

    fn median(&self) -> Option<f64> {
        self.samples.quantile(0.5)
    }

    fn missed(&self) -> Option<bool> {
        self.aim.zip(self.median()).map(|(aim, median)| median > aim)
    }

    /// One line of the table; `peer` is the row of the other announcer.
    fn line(&self, peer: Option<&Self>) -> String {
        let name = self.name();
        let quantile = |part| self.samples.quantile(part).map_or("-".to_owned(), short);
        let [least, median, most] = [0.0, 0.5, 1.0].map(quantile);
        let aim = self.aim.map(|aim| format!("≤ {}", short(aim))).unwrap_or_default();
        let mark = match self.missed() {
            Some(true) => "MISSED",
            Some(false) => "met",
            None => "",
        };
        let ratio = self.median().zip(peer.and_then(Self::median)).filter(|(_, bird)| *bird > 0.0);
        let ratio = ratio.map(|(ours, bird)| format!("{} x BIRD", short(ours / bird)));
        let line = format!(
            "  {name:32}{least:>9}{median:>9}{most:>9}{aim:>9} {mark:7}{:>13}",
            ratio.unwrap_or_default()
        );
        line.trim_end().to_owned()
    }

    fn json(&self) -> Value {
        let quantile = |part| self.samples.quantile(part);
        json!({
            "what": self.what,
            "announcer": self.announcer,
            "how": self.how,
            "unit": self.unit,
            "min": quantile(0.0),
            "median": quantile(0.5),
            "max": quantile(1.0),
            "aim": self.aim,
            "missed": self.missed(),
            "samples": self.samples.values(),
        })
    }
}

impl Report {
    /// Nothing yet.
    pub(super) fn begin(binaries: &Path) -> Result<Self> {
        let programs = [
            version(&binaries.join("vipcastd"), "--version"),
            version(Path::new("bird"), "--version"),
            version(Path::new("/usr/lib/frr/bgpd"), "--version"),
        ];
        let (machine, load) = (Machine::this()?, load()?);
        let versions = programs.into_iter().collect::<Result<_>>()?;
        Ok(Self { machine, versions, load_before: load, load_after: load, rows: Vec::new() })
    }

    /// Everything has been measured.
    pub(super) fn end(&mut self) -> Result<()> {
        self.load_after = load()?;
        Ok(())
    }

    pub(super) fn add(&mut self, row: Row) {
        let median = row.median().map_or("-".to_owned(), short);
        eprintln!("lab:   {}: {}: {median} {}", row.what, row.name(), row.unit);
        self.rows.push(row);
    }

    pub(super) fn table(&self) -> String {
        let mut text = format!("\n{}\n", self.about());
        let _ = writeln!(text, "\n{:34}{:>9}{:>9}{:>9}{:>9}", "", "min", "median", "max", "aim");
        let mut shown: Vec<&str> = Vec::new();
        for row in &self.rows {
            if shown.contains(&row.what.as_str()) {
                continue;
            }
            shown.push(&row.what);
            let _ = writeln!(text, "{}, {}", row.what, row.unit);
            let same: Vec<&Row> = self.rows.iter().filter(|other| other.what == row.what).collect();
            let bird = same.iter().copied().find(|other| other.announcer == BIRD);
            for row in &same {
                let peer = bird.filter(|_| row.announcer != BIRD);
                let _ = writeln!(text, "{}", row.line(peer));
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let Machine { release, cpu, cores } = &self.machine;
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({
            "machine": { "kernel": release, "cpu": cpu, "cores": cores },
            "versions": self.versions,
            "load": { "before": self.load_before, "after": self.load_after },
            "rows": rows,
        })
    }

    fn about(&self) -> String {
        let Machine { release, cpu, cores } = &self.machine;
        format!(
            "Linux {release}, {cores} cores ({cpu}), load {} before and {} after\n{}",
            short(self.load_before),
            short(self.load_after),
            self.versions.join(", ")
        )
    }
}

/// The first line in which a program says its version.
fn version(program: &Path, option: &str) -> Result<String> {
    let output = Command::new(program).arg(option).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines()
        .next()
        .map(str::to_owned)
        .with_context(|| format!("{}: no version", program.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(milliseconds: u64) -> Row {
        Row::of("there and back", [Duration::from_millis(milliseconds)].into_iter().collect())
    }

    #[test]
    fn a_line_has_the_aim_a_mark_and_the_ratio_and_fits_a_terminal() {
        let line = row(30).aim(20.0).line(Some(&row(10).bird()));
        assert!(line.contains("30.0") && line.contains("≤ 20.0 MISSED"), "{line}");
        assert!(line.ends_with("3.00 x BIRD") && line.chars().count() <= 100, "{line}");
        assert!(row(10).aim(20.0).line(None).ends_with(" met"));
    }

    #[test]
    fn json_has_every_value() {
        let json = row(10).bird().json();
        assert_eq!(json["samples"], json!([10.0]));
        assert_eq!((&json["announcer"], &json["missed"]), (&json!(BIRD), &Value::Null));
    }
}
