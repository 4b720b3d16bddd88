//! Events of a connection are logged within its span, from every task.

use super::*;

use std::fmt;

use crate::support::subprocess;
use erps::{Protocol, Universe};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber,
};

/// Records spans, and each event with the spans it was emitted in.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    spans: Vec<String>,
    entered: Vec<u64>,
    events: Vec<(String, Vec<String>)>,
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut text = Text(attributes.metadata().name().to_owned());
        attributes.record(&mut text);
        let mut pages = self.0.lock().unwrap();
        pages.spans.push(text.0);
        Id::from_u64(pages.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let mut pages = self.0.lock().unwrap();
        let span = |id: &u64| pages.spans[*id as usize - 1].clone();
        let spans = pages.entered.iter().map(span).collect();
        pages.events.push((text.0, spans));
    }

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(id.into_u64());
    }

    fn exit(&self, id: &Id) {
        let left = self.0.lock().unwrap().entered.pop();
        assert_eq!(left, Some(id.into_u64()));
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

struct Chat;

impl Protocol for Chat {
    type Call = String;
    type Reply = ();
    type Cast = ();
    type Push = ();
}

/// Logs from all its callbacks, also after an await.
struct Chatterbox;

impl Server for Chatterbox {
    type Protocol = Chat;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        tracing::info!("init");
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        name: String,
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        time::sleep(ms(10)).await;
        tracing::info!(name, "call");
        from.reply(());
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        tracing::info!("terminate");
    }
}

/// Returns everything that is logged while two clients call concurrently.
fn logged(change: fn(DaemonBuilder<Chatterbox>) -> DaemonBuilder<Chatterbox>) -> Pages {
    let log = Log::default();
    subscriber::with_default(log.clone(), || {
        Universe::simulated(1).run(async {
            let daemon = change(Daemon::builder(())).start_link().await.unwrap();
            let visit = async |name: &str| {
                let client = Client::<Chat>::builder(daemon.local_addr());
                let client = client.connect().await.unwrap();
                client.call(name.to_owned()).await.unwrap();
            };
            future::zip(visit("one"), visit("two")).await;
            daemon.shutdown().await;
        });
    });
    std::mem::take(&mut log.0.lock().unwrap())
}

/// In separate processes, because `tracing` caches interest per process.
#[test]
fn connection_events_are_logged_within_their_span() {
    for which in ["servers", "failures"] {
        subprocess::passes(
            &format!("admission::spans::{which}_are_logged_within_their_span"),
            &[],
        );
    }
}

#[test]
fn connection_span_holds_the_name_in_the_certificate() {
    subprocess::passes("admission::spans::name_in_the_certificate_is_logged", &[]);
}

#[test]
#[ignore = "run by another test, in its own process"]
fn name_in_the_certificate_is_logged() {
    let ca = TestCa::new();
    let log = Log::default();
    subscriber::with_default(log.clone(), || {
        Universe::simulated(1).run(async {
            let daemon = Daemon::<Chatterbox>::builder(()).transport(ca.tls(&["localhost"]));
            let daemon = daemon.start_link().await.unwrap();
            let client = Client::<Chat>::builder(("localhost", daemon.port()));
            let client = client.transport(ca.tls(&["worker-7"]));
            let client = client.connect().await.unwrap();
            client.call("one".to_owned()).await.unwrap();
        });
    });
    let pages = std::mem::take(&mut *log.0.lock().unwrap());
    let call = pages.events.iter().find(|it| it.0.contains("message=call"));
    let (_, spans) = call.expect("the call is logged");
    let span = spans.last().unwrap();
    assert!(span.contains("name=\"worker-7\""), "{span}");
}

#[test]
#[ignore = "run by another test, in its own process"]
fn servers_are_logged_within_their_span() {
    let supervisors: [fn(DaemonBuilder<Chatterbox>) -> DaemonBuilder<Chatterbox>; 2] = [
        |it| it,
        |it| it.server_supervisor(ServerSupervisor::Unsupervised),
    ];
    for change in supervisors {
        let pages = logged(change);
        let said = |what: &str| {
            let events = pages.events.iter().filter(move |it| it.0.contains(what));
            events.map(|it| &it.1[..]).collect::<Vec<_>>()
        };
        for what in ["message=init", "message=call", "message=terminate"] {
            let spans = said(what);
            assert_eq!(spans.len(), 2, "{what}");
            for spans in spans {
                let last = spans.last().expect("a span");
                assert!(last.starts_with("connection peer="), "{what}: {spans:?}");
            }
        }
        // Each call is logged in the span of its own connection.
        let (one, two) = (said("name=\"one\""), said("name=\"two\""));
        assert_ne!(one[0].last(), two[0].last());
        assert_eq!((one.len(), two.len()), (1, 1));
    }
}

#[test]
#[ignore = "run by another test, in its own process"]
fn failures_are_logged_within_their_span() {
    let log = Log::default();
    subscriber::with_default(log.clone(), || {
        Universe::simulated(1).run(async {
            let builder = Daemon::<Chatterbox>::builder(());
            let tls = TestCa::new().tls(&["localhost"]);
            let daemon = builder.transport(tls).start_link().await.unwrap();
            let network = Network::current().unwrap();
            let mut peer = network.connect(daemon.local_addr()).await.unwrap();
            peer.write_all(b"nonsense that is no TLS").await.unwrap();
            time::sleep(HOUR).await;
        });
    });
    let pages = log.0.lock().unwrap();
    let failed = pages
        .events
        .iter()
        .find(|it| it.0.contains("before it had a server"));
    let (_, spans) = failed.expect("it is logged");
    assert!(spans.last().unwrap().starts_with("connection peer="));
}
