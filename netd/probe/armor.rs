//! An ARMOR that does what it is asked.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chameleon_link::{Event, Link, LinkError, birth};
use chameleon_proto::ids::{AppId, ArmorId, ArmorType, Incarnation, NodeId};
use chameleon_proto::message::env::{Answer, Heartbeat, Note, Places, Request, Step};
use chameleon_proto::message::{Envelope, Message};

/// How long it waits for a daemon that is gone.
const ALONE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Armor {
    /// Notes that came; who wants to be told after how many.
    notes: u64,
    told: Option<(ArmorId, u64, u64)>,
    /// With whom it plays, and the last answer.
    partner: Option<ArmorId>,
    answered: u64,
    /// Messages that were lost with connections, and connections lost.
    lost: u64,
    downs: u64,
    /// As an FTM: what it says of places, and the nodes that answered its heartbeats.
    places: Places,
    beaten: Vec<String>,
    nodes: BTreeSet<u32>,
    /// What was reported to it.
    reports: Vec<String>,
}

pub fn run() -> Result<ExitCode, Box<dyn Error>> {
    let birth = birth()?;
    let mut link = Link::armor(&birth)?;
    let mut armor = Armor::default();
    // An ARMOR in earnest waits for its daemon for ever; this one ends if the test was ended.
    let mut alone = None;
    loop {
        if alone.is_some_and(|since: Instant| since.elapsed() > ALONE) {
            return Ok(ExitCode::from(8));
        }
        let event = match link.receive(alone.map(|_| ALONE)) {
            Ok(event) => event,
            // It has been replaced.
            Err(LinkError::Refused(_)) => return Ok(ExitCode::from(9)),
            Err(error) => return Err(error.into()),
        };
        match event {
            Some(Event::Message(envelope)) => {
                if let Some(code) = armor.take(&mut link, envelope)? {
                    return Ok(code);
                }
            }
            Some(Event::Lost(lost)) => {
                armor.lost += (lost.doubtful.len() + lost.unsent.len()) as u64;
                armor.downs += 1;
                alone = Some(Instant::now());
            }
            // What was asked last may be lost, or its answer: it is asked again.
            Some(Event::Back) => {
                alone = None;
                armor.play(&mut link);
            }
            Some(Event::Unreadable(error)) => return Err(error.into()),
            None => {}
        }
    }
}

fn note() -> Message {
    Message::Note(Note {
        incident: 0,
        at_ns: 0,
        node: NodeId(0),
        app: Some(AppId(1)),
        step: Step::Info,
        text: "something".into(),
    })
}

fn id(kind: &str, number: &str) -> Result<ArmorId, Box<dyn Error>> {
    let (number, life) = number.split_once('.').unwrap_or((number, "0"));
    let first = ArmorId::first(ArmorType(kind.parse()?), number.parse()?);
    Ok(ArmorId { incarnation: Incarnation(life.parse()?), ..first })
}

impl Armor {
    fn play(&self, link: &mut Link) {
        if let Some(partner) = self.partner {
            let request = Request { number: self.answered + 1, text: "echo".into() };
            // If the link is down the next `Back` asks again.
            let _ = link.send(partner, Message::Request(request));
        }
    }

    fn take(
        &mut self,
        link: &mut Link,
        envelope: Envelope,
    ) -> Result<Option<ExitCode>, Box<dyn Error>> {
        let source = envelope.source;
        match envelope.message {
            Message::Ping { nonce } => {
                let _ = link.send(source, Message::Pong { nonce, calls: 0 });
            }
            Message::Shutdown => return Ok(Some(ExitCode::SUCCESS)),
            Message::Note(_) => {
                self.notes += 1;
                if let Some((who, number, at)) = self.told
                    && self.notes >= at
                {
                    self.told = None;
                    let text = self.notes.to_string();
                    let answer = Answer { number, text, last: true };
                    let _ = link.send(who, Message::Answer(answer));
                }
            }
            Message::Answer(answer)
                if Some(source) == self.partner && answer.number == self.answered + 1 =>
            {
                self.answered += 1;
                self.play(link);
            }
            Message::AskPlaces { .. } if self.places.all => {
                let _ = link.send(source, Message::Places(self.places.clone()));
            }
            Message::NodeInfo(info) => {
                self.nodes.insert(info.node.0);
            }
            Message::Heartbeaten(answer) => self.beaten.push(answer.node.0.to_string()),
            Message::ArmorDown(down) => {
                let (kind, number) = (down.armor.kind.0, down.armor.number);
                self.reports.push(format!("{kind}:{number} {:?}", down.how));
            }
            Message::Request(request) => return self.asked(link, source, &request),
            _ => {}
        }
        Ok(None)
    }

    fn asked(
        &mut self,
        link: &mut Link,
        source: ArmorId,
        request: &Request,
    ) -> Result<Option<ExitCode>, Box<dyn Error>> {
        let words: Vec<&str> = request.text.split(' ').collect();
        let text = match words[..] {
            ["echo", ..] => request.text.strip_prefix("echo").unwrap_or_default().trim().to_owned(),
            ["count"] => format!("{} {} {} {}", self.answered, self.lost, self.downs, self.notes),
            ["places", ..] => {
                self.places = serde_json::from_str(request.text.strip_prefix("places ").unwrap())?;
                String::new()
            }
            ["tell-places", node] => {
                let to = ArmorId::daemon(NodeId(node.parse()?));
                link.send(to, Message::Places(self.places.clone()))?;
                String::new()
            }
            ["beat", node] => {
                let beat = Heartbeat { sequence: 1, health: true };
                link.send(ArmorId::daemon(NodeId(node.parse()?)), Message::Heartbeat(beat))?;
                String::new()
            }
            ["nodes"] => {
                let nodes: Vec<String> = self.nodes.iter().map(u32::to_string).collect();
                nodes.join(",")
            }
            ["beaten"] => self.beaten.join(","),
            ["downs"] => self.reports.join(","),
            ["ftm"] => format!("{:?} {}", link.ftm(), link.epoch().0),
            ["exit", code] => return Ok(Some(ExitCode::from(code.parse::<u8>()?))),
            ["last-words", to_kind, to_number] => {
                link.send(id(to_kind, to_number)?, note())?;
                return Ok(Some(ExitCode::from(3)));
            }
            ["abort"] => std::process::abort(),
            ["hang"] => loop {
                std::thread::sleep(Duration::from_secs(1000));
            },
            ["play", kind, number] => {
                self.partner = Some(id(kind, number)?);
                self.play(link);
                String::new()
            }
            ["told", at] => {
                let at = at.parse()?;
                if self.notes < at {
                    self.told = Some((source, request.number, at));
                    return Ok(None);
                }
                self.notes.to_string()
            }
            ["flood", kind, number, n, window] => {
                let (to, n, window): (_, u64, u64) =
                    (id(kind, number)?, n.parse()?, window.parse()?);
                flood(link, to, n, window)?;
                String::new()
            }
            _ => "what?".to_owned(),
        };
        let answer = Answer { number: request.number, text, last: true };
        let _ = link.send(source, Message::Answer(answer));
        Ok(None)
    }
}

/// Sends so many notes, and never more than a window of them ahead of what the receiver echoed.
fn flood(link: &mut Link, to: ArmorId, n: u64, window: u64) -> Result<(), Box<dyn Error>> {
    let (mut sent, mut echoed) = (0, 0);
    while echoed < n {
        while sent < n && sent < echoed + window {
            match link.queue(to, note()) {
                Ok(()) => sent += 1,
                Err(LinkError::Full) => break,
                Err(error) => return Err(error.into()),
            }
            if sent % (window / 4).max(1) == 0 || sent == n {
                let mark = Request { number: sent, text: "echo".into() };
                link.queue(to, Message::Request(mark))?;
            }
        }
        link.flush();
        if let Some(Event::Message(envelope)) = link.receive(Some(Duration::from_secs(10)))? {
            match envelope.message {
                Message::Answer(answer) if envelope.source == to => echoed = answer.number,
                Message::Ping { nonce } => {
                    link.send(envelope.source, Message::Pong { nonce, calls: 0 })?;
                }
                _ => {}
            }
        } else {
            return Err("no answer for 10 s".into());
        }
    }
    Ok(())
}
