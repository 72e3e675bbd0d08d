//! What is asked over DNS, and what is a good answer to it (RFC 1035 §4.1).
use std::fmt;
use std::str::FromStr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::rdata::UnknownRecordData;
use domain::base::scan::IterScanner;
use domain::base::{Message, MessageBuilder, Name, ParsedName, RecordSection};
use domain::rdata::ZoneRecordData;

/// Records that are shown of an answer that holds others.
const SHOWN: usize = 3;

/// A name and a type of records: "example.com. A".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    name: Name<Vec<u8>>,
    rtype: Rtype,
}

/// What one record says: "192.0.2.1", "10 mail.example.com.", in the form of zone files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Data(ZoneRecordData<Vec<u8>, Name<Vec<u8>>>);

/// What an answer must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// The response code
    pub rcode: Rcode,
    /// Flags that must be set
    pub flags: Vec<Flag>,
    /// What must be among the answers; when `None`, any of the type asked for will do
    pub answers: Option<Vec<Data>>,
}

/// A flag of an answer's header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flag {
    /// Authoritative Answer
    Aa,
    /// Recursion Available
    Ra,
    /// Authentic Data: DNSSEC says so (RFC 4035 §3.2.3)
    Ad,
}

/// What became of a question, going by one message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::check) enum Heard {
    /// It answers something else
    Other,
    /// Not all of the answer fits into a datagram (RFC 1035 §4.2.1)
    Truncated,
    /// The answer: as it must be, or why not
    Answer(Result<(), String>),
}

impl FromStr for Question {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split_whitespace();
        let (Some(name), Some(rtype), None) = (words.next(), words.next(), words.next()) else {
            return Err(());
        };
        let rtype = Rtype::from_str(&rtype.to_ascii_uppercase()).map_err(|_| ())?;
        let is_transfer = matches!(rtype, Rtype::AXFR | Rtype::IXFR);
        let name = Name::from_str(name).map_err(|_| ())?;
        if is_transfer { Err(()) } else { Ok(Self { name, rtype }) }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name.fmt_with_dot(), self.rtype)
    }
}

impl Question {
    /// Reads what a record of the type asked for may say. `None` when none can say that.
    #[must_use]
    pub fn data(&self, text: &str) -> Option<Data> {
        let mut words = words(text).into_iter().peekable();
        // How types without a form of their own are written (RFC 3597 §5).
        let is_generic = words.next_if(|word| word == "\\#").is_some();
        let mut scanner: IterScanner<_, Vec<u8>> = IterScanner::new(words);
        let data = if is_generic {
            let data = UnknownRecordData::scan_without_marker(self.rtype, &mut scanner);
            data.map(ZoneRecordData::Unknown)
        } else {
            ZoneRecordData::scan(self.rtype, &mut scanner)
        };
        let data = data.ok()?;
        scanner.is_exhausted().then_some(Data(data))
    }

    /// The message that asks it.
    pub(in crate::check) fn message(&self, id: u16, expected: &Expected) -> Vec<u8> {
        let mut message = MessageBuilder::new_vec();
        let header = message.header_mut();
        header.set_id(id);
        header.set_rd(true);
        // Otherwise the flag is cleared in the answer (RFC 6840 §5.7).
        header.set_ad(expected.flags.contains(&Flag::Ad));
        let mut message = message.question();
        message.push((&self.name, self.rtype)).expect("a vector has room for a question");
        message.finish()
    }

    /// What a message means to it.
    pub(in crate::check) fn judge(&self, id: u16, octets: &[u8], expected: &Expected) -> Heard {
        let Some(message) = Message::from_octets(octets).ok().filter(|m| self.is_answered(id, m))
        else {
            return Heard::Other;
        };
        let header = message.header();
        if header.tc() {
            return Heard::Truncated;
        }
        let rcode = header.rcode();
        if rcode != expected.rcode {
            return Heard::Answer(Err(format!("{rcode}, expected {}", expected.rcode)));
        }
        if let Some(flag) = expected.flags.iter().find(|flag| !flag.is_set(&message)) {
            return Heard::Answer(Err(format!("the answer does not have the flag {flag}")));
        }
        Heard::Answer(match &expected.answers {
            None if rcode == Rcode::NOERROR => self.found(&message, &[]),
            None => Ok(()),
            Some(answers) if answers.is_empty() => Ok(()),
            Some(answers) => self.found(&message, answers),
        })
    }

    /// Whether this is the answer to our question and to no other. Some errors leave the question
    /// out.
    fn is_answered(&self, id: u16, message: &Message<&[u8]>) -> bool {
        let header = message.header();
        if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
            return false;
        }
        if message.header_counts().qdcount() == 0 {
            return header.rcode() != Rcode::NOERROR;
        }
        message.sole_question().is_ok_and(|question| {
            let asked = (question.qtype(), question.qclass()) == (self.rtype, Class::IN);
            asked && *question.qname() == self.name
        })
    }

    /// Whether all that is expected is among the records of our type, of which there must be one.
    fn found(&self, message: &Message<&[u8]>, expected: &[Data]) -> Result<(), String> {
        let records = message.answer().and_then(|section| self.records(section));
        let found = records.map_err(|error| format!("the answer is broken: {error}"))?;
        if found.is_empty() {
            return Err(format!("there is no record of type {} in the answer", self.rtype));
        }
        let Some(missing) = expected.iter().find(|wanted| !found.iter().any(|d| wanted.0 == *d))
        else {
            return Ok(());
        };
        let mut shown: Vec<_> = found.iter().take(SHOWN).map(ToString::to_string).collect();
        if found.len() > SHOWN {
            shown.push("…".into());
        }
        Err(format!("{missing} is not in the answer: {}", shown.join(", ")))
    }

    /// What the records of our type say, whosever they are: aliases lead to other names.
    fn records<'a>(&self, section: RecordSection<'a, &'a [u8]>) -> Result<Vec<Found<'a>>, Broken> {
        let mut found = Vec::new();
        for record in section {
            let record = record?;
            let is_ours = self.rtype == Rtype::ANY || record.rtype() == self.rtype;
            if is_ours && record.class() == Class::IN {
                found.extend(record.to_record()?.map(|record| record.into_data()));
            }
        }
        Ok(found)
    }
}

type Found<'a> = ZoneRecordData<&'a [u8], ParsedName<&'a [u8]>>;
type Broken = domain::base::wire::ParseError;

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Flag {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aa, Self::Ra, Self::Ad];

    /// As the RFCs write it, in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aa => "aa",
            Self::Ra => "ra",
            Self::Ad => "ad",
        }
    }

    fn is_set(self, message: &Message<&[u8]>) -> bool {
        let header = message.header();
        match self {
            Self::Aa => header.aa(),
            Self::Ra => header.ra(),
            Self::Ad => header.ad(),
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The words of a text, of which those in quotes can have spaces in them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
