//! What the engine wants done, as lines of a script.

use majordomo_broker::engine::{Action, Caller, Note};
use majordomo_protocol::{
    Answered, ClientAddress, PeerId, Reason, RequestId, Task, Version, client, mmi, worker,
};

use super::{Text, World};

impl World {
    /// Puts all that is to be done into the transcript, without the HEARTBEATs for those
    /// who beat.
    pub(super) fn show_actions(&mut self, beating: &[&str], at: &str) {
        while let Some(action) = self.engine().poll_action() {
            let text = match action {
                Action::ToClient { caller, command, part_of } => {
                    let is_part = matches!(command, client::FromBroker::Partial { .. });
                    assert_eq!(part_of.is_some(), is_part, "only a PARTIAL is a part");
                    let command = self.text_for_client(command);
                    format!("to {} {command}", text_of(&caller))
                }
                Action::ToWorker { worker, command: worker::FromBroker::Heartbeat, .. }
                    if beating.contains(&&*name_of(&worker)) =>
                {
                    continue;
                }
                Action::ToWorker { worker, version, command } => {
                    let command = self.text_for_worker(version, command);
                    format!("to {} {version} {command}", name_of(&worker))
                }
                Action::Note(_) if !self.notes => continue,
                Action::Note(note) => format!("note {}", self.text_of_note(note)),
                Action::Close { peer } => format!("close {}", name_of(&peer)),
                Action::Stopped => "stopped".to_owned(),
            };
            self.transcript.push(format!("-> {text}{at}"));
        }
        if !self.keeps_back {
            self.engine().sent();
        }
    }

    fn text_for_client(&mut self, command: client::FromBroker<Text>) -> String {
        let (command, request, body) = match command {
            client::FromBroker::Partial { request, body } => ("PARTIAL", request, body),
            client::FromBroker::Final { request, mut body } => {
                if matches!(&request, Answered::Service(service) if service.as_str() == mmi::BROKER)
                {
                    self.report = std::mem::replace(&mut body.0[0], "{…}".to_owned());
                }
                ("FINAL", request, body)
            }
            client::FromBroker::Error { id, reason, details } => {
                let details = match details.0.as_slice() {
                    [empty] if empty.is_empty() => String::new(),
                    words => format!(" | {}", words.join(" ")),
                };
                return format!("ERROR {} {}{details}", text_of_id(id), text_of_reason(&reason));
            }
            client::FromBroker::Heartbeat { instance } => {
                assert_eq!(*instance.as_bytes(), self.settings.instance.to_be_bytes());
                return "HEARTBEAT".to_owned();
            }
        };
        let request = match request {
            Answered::Id(id) => text_of_id(id),
            Answered::Service(service) => service.to_string(),
        };
        format!("{command} {request} {}", body.0.join(" "))
    }

    fn text_for_worker(&mut self, version: Version, command: worker::FromBroker<Text>) -> String {
        match command {
            worker::FromBroker::Welcome(agreement) => {
                assert_eq!(*agreement.instance.as_bytes(), self.settings.instance.to_be_bytes());
                format!("WELCOME {}ms {}", agreement.heartbeat.as_millis(), agreement.liveness)
            }
            worker::FromBroker::Request { client, task, body } => {
                let mut words = vec![format!("REQUEST {}", self.number(client))];
                if version >= Version::V1_0 {
                    words.extend(terms_of(&task));
                }
                words.extend(body.0);
                words.join(" ")
            }
            worker::FromBroker::Cancel { client } => format!("CANCEL {}", self.number(client)),
            worker::FromBroker::Heartbeat => "HEARTBEAT".to_owned(),
            worker::FromBroker::Disconnect { reason } if version >= Version::V1_0 => {
                format!("DISCONNECT {}", text_of_reason(&reason))
            }
            worker::FromBroker::Disconnect { .. } => "DISCONNECT".to_owned(),
        }
    }

    fn text_of_note(&mut self, note: Note) -> String {
        match note {
            Note::WorkerRegistered { worker, version, service } => {
                format!("{} {version} registered for {service}", name_of(&worker))
            }
            Note::WorkerGone { worker, service, reason, requests } => {
                let had = if requests > 0 { format!(" with {requests}") } else { String::new() };
                format!("{} gone from {service}: {reason:?}{had}", name_of(&worker))
            }
            Note::WorkerRefused { worker, reason } => {
                format!("{} refused: {reason:?}", name_of(&worker))
            }
            Note::RequestDispatched { request, client, service, worker, attempt } => {
                let (client, worker) = (name_of(&client), name_of(&worker));
                let id = self.number(request);
                format!("{id} of {client} for {service} to {worker}, attempt {attempt}")
            }
            Note::RequestAnswered { request, worker } => {
                format!("{} answered by {}", self.number(request), name_of(&worker))
            }
            Note::RequestDropped { client, service, request, reason } => {
                let id = request.map_or(String::new(), |id| format!("{} ", self.number(id)));
                format!("dropped {id}of {} for {service}: {reason:?}", name_of(&client))
            }
            Note::ReplyUnsent { client } => format!("reply to {} unsent", name_of(&client)),
            Note::Forbidden { peer, who, act } => {
                format!("{who} at {} may not {act:?}", name_of(&peer))
            }
            Note::ConnectionClosed { peer, who, reason } => {
                format!("{} of {who} closed: {reason:?}", name_of(&peer))
            }
            Note::CutOff { who } => format!("{who} cut off"),
            Note::Late => "late".to_owned(),
        }
    }

    fn number(&mut self, id: ClientAddress) -> String {
        let position = self.ids.iter().position(|known| *known == id);
        let position = position.unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        format!("#{}", position + 1)
    }
}

fn name_of(peer: &PeerId) -> String {
    String::from_utf8_lossy(peer.as_bytes()).into_owned()
}

fn text_of(caller: &Caller<Text>) -> String {
    let envelope = caller.envelope.iter().flat_map(|envelope| &envelope.0);
    let names = [name_of(&caller.peer)].into_iter().chain(envelope.cloned());
    format!("{} {}", names.collect::<Vec<_>>().join("/"), caller.version)
}

fn text_of_id(id: RequestId) -> String {
    String::from_utf8_lossy(id.as_bytes()).trim_end_matches('\0').to_owned()
}

fn text_of_reason(reason: &Reason) -> String {
    format!("{} {}", reason.code, reason.text)
}

/// What a worker of MDP/1.0 learns beside the body.
fn terms_of(task: &Task) -> Vec<String> {
    let timeout = task.timeout.map(|timeout| format!(":timeout={}ms", timeout.as_millis()));
    let attempt = (task.attempt != 1).then(|| format!(":attempt={}", task.attempt));
    let metadata = task.metadata.iter();
    let metadata =
        metadata.map(|(key, value)| format!(":{key}={}", String::from_utf8_lossy(value)));
    timeout.into_iter().chain(attempt).chain(metadata).collect()
}
