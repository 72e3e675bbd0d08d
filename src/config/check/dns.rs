//! The keys of a check with `dns`.
use std::str::FromStr;

use domain::base::iana::Rcode;

use super::endpoint::address;
use crate::check::Probe;
use crate::check::dns::{Data, Dns, Expected, Flag, Question, Transport};
use crate::config::problem::Problem;
use crate::config::table::{Located, Table};
use crate::config::value::{Text, Written};

/// What to ask whom, and which answers are healthy.
pub(super) fn read(table: &mut Table<'_>) -> Option<Probe> {
    let to = address(table, "dns");
    table.needs("query", "\"example.com. A\"");
    let question = table.optional::<Text<Question>>("query").map(|query| query.value.0);
    let Text(transport) = table.or("transport", Text(Transport::Udp));
    let Text(rcode) = table.or("rcode", Text(Rcode::NOERROR));
    let flags = table.list::<Text<Flag>>("flags").unwrap_or_default();
    let flags = flags.into_iter().map(|flag| flag.value.0).collect();
    let answers = table.list::<String>("answers");
    let (target, origin) = to?;
    let question = question?;
    let answers = answers.map(|answers| data(table, &question, answers));
    let expected = Expected { rcode, flags, answers };
    Some(Dns { target, origin, transport, question, expected }.into())
}

fn data(table: &Table<'_>, question: &Question, written: Vec<Located<String>>) -> Vec<Data> {
    let understood = written.into_iter().filter_map(|Located { value, place }| {
        let data = question.data(&value);
        if data.is_none() {
            let message = format!("no answer to {:?} can say {value:?}", question.to_string());
            let help = "write it as in a zone file: \"192.0.2.1\", \"10 mail.example.com.\"";
            table.problem(Problem::new(&place, message).help(help));
        }
        data
    });
    understood.collect()
}

impl Written for Question {
    const EXPECTED: &'static str = "a name and a type of records, such as \"example.com. A\"";

    fn understand(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Written for Transport {
    const EXPECTED: &'static str = "\"udp\" or \"tcp\"";
    const WORDS: &'static [&'static str] = &["udp", "tcp"];

    fn understand(text: &str) -> Option<Self> {
        match text {
            "udp" => Some(Self::Udp),
            "tcp" => Some(Self::Tcp),
            _ => None,
        }
    }
}

impl Written for Rcode {
    const EXPECTED: &'static str = "a response code, such as \"NOERROR\" or \"NXDOMAIN\"";
    const WORDS: &'static [&'static str] =
        &["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

    fn understand(text: &str) -> Option<Self> {
        Self::from_str(text).ok()
    }
}

impl Written for Flag {
    const EXPECTED: &'static str = "\"aa\", \"ra\" or \"ad\"";
    const WORDS: &'static [&'static str] = &["aa", "ra", "ad"];

    fn understand(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.name() == text)
    }
}
