//! Server addresses: parsing, formatting, and rejected inputs.

use std::net::{SocketAddr, SocketAddrV6};

use erps::{Address, AddressError, Client, ConnectError, Endpoint, Status};

use crate::support::{
    events::Warnings,
    test_server::{self, Call, TestProtocol, assert_served, run},
    time::at_once,
};

#[test]
fn ipv6_address_keeps_its_scope_id() {
    let socket: SocketAddr = "[fe80::1%2]:4747".parse().unwrap();
    let text = "[fe80::1%2]:4747";
    for address in [
        Address::from(socket),
        Address::from(Endpoint::from(socket)),
        Address::from(("fe80::1%2", 4747)),
        Address::from(("[fe80::1%2]", 4747)),
        text.parse().unwrap(),
    ] {
        assert_eq!(address.to_string(), text);
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    let named: Address = "[fe80::1%eth0]:4747".parse().unwrap();
    assert_eq!(named.to_string(), "[fe80::1%eth0]:4747");
    assert_eq!(named.to_string().parse(), Ok(named));
}

/// The error contains the address that the client dialled.
#[test]
fn ipv6_scope_id_is_used_to_connect() {
    run(async {
        let nowhere = SocketAddrV6::new("fe80::1".parse().unwrap(), 4747, 0, 4_000_000_000);
        let client = Client::<TestProtocol>::builder(SocketAddr::from(nowhere));
        let ConnectError::Unreachable { address, .. } = client.connect().await.unwrap_err() else {
            panic!("there is no such interface");
        };
        assert_eq!(address, SocketAddr::from(nowhere));
        assert!(address.to_string().contains("%4000000000"), "{address}");
        let client = Client::<TestProtocol>::builder(("fe80::1%no-such-if", 4747));
        let error = client.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Unresolved { .. }), "{error}");
        assert!(error.to_string().contains("%no-such-if"), "{error}");
    });
}

#[test]
fn parsing_an_invalid_address_fails() {
    for (text, expected) in [
        ("http://localhost:4747", AddressError::Scheme),
        ("localhost:0", AddressError::Port),
        ("localhost", AddressError::NoPort),
        ("local host:4747", AddressError::Blank(' ')),
        ("::1:4747", AddressError::Brackets),
        ("unix:/run/a\0b", AddressError::Blank('\0')),
    ] {
        assert_eq!(text.parse::<Address>(), Err(expected), "{text:?}");
    }
    let said = AddressError::Brackets.to_string();
    assert!(said.contains("[::1]:4747"), "{said}");
}

#[test]
fn address_is_deserialized_from_its_text() {
    let address: Address = serde_json::from_str(r#""localhost:4747""#).unwrap();
    assert_eq!(address, Address::from(("localhost", 4747)));
    let error = serde_json::from_str::<Address>(r#""localhost""#).unwrap_err();
    let reason = "localhost".parse::<Address>().unwrap_err().to_string();
    assert!(error.to_string().starts_with(&reason), "{error}");
}

#[test]
fn connecting_to_an_invalid_host_and_port_fails_without_logging_credentials() {
    Warnings::capture(|warnings| {
        erps::Universe::simulated(1).run(async {
            for (host, port, expected) in [
                ("http://localhost", 80, AddressError::Scheme),
                ("me:hunter2@localhost", 80, AddressError::Credentials),
                ("localhost", 0, AddressError::Port),
                ("", 80, AddressError::NoHost),
            ] {
                let client = Client::<TestProtocol>::builder((host, port));
                let error = at_once(client.connect()).await.unwrap_err();
                let ConnectError::Address(why) = &error else {
                    panic!("{error}");
                };
                assert_eq!(*why, expected);
                assert!(error.is_likely_permanent());
                let client = client.start();
                let slow = |it: &Status| matches!(it, Status::RetryingSlowly { .. });
                at_once(client.until(slow)).await;
                client.call(Call::Ping).await.unwrap_err();
                let address = Address::from((host, port));
                let all = format!("{error} {error:?} {client:?} {address} {address:?}");
                assert!(!all.contains("hunter2"), "{all}");
            }
        });
        let warnings = warnings.take().concat();
        assert!(!warnings.contains("hunter2"), "{warnings}");
    });
}

#[test]
fn host_name_may_contain_underscores_and_a_trailing_dot() {
    for host in ["localhost.", "my_service", "db-1.example"] {
        let address = Address::from((host, 1));
        assert_eq!(address.to_string(), format!("{host}:1"));
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

#[erps::test(simulated)]
async fn certificate_is_verified_without_the_trailing_dot_of_the_host_name() {
    let ca = erps::TestCa::new();
    let (builder, _watch) = test_server::daemon();
    let builder = builder.transport(ca.tls(&["here.example"]));
    let network = erps::Network::current().unwrap();
    let host = network.host("here.example.");
    let daemon = host.scope(builder.bind([0, 0, 0, 0]).start_link()).await;
    let daemon = daemon.unwrap();
    let client = Client::<TestProtocol>::builder(("here.example.", daemon.port()));
    let client = client.transport(ca.tls(&["client"])).connect().await;
    assert_served(&client.unwrap()).await;
}

#[erps::test(simulated)]
async fn builder_accepts_an_address_as_text_and_connecting_to_an_invalid_one_fails() {
    let (builder, _watch) = test_server::daemon();
    let _daemon = builder.port(4747).start_link().await.unwrap();
    for text in ["localhost:4747", "127.0.0.1:4747"] {
        let client = Client::<TestProtocol>::builder(text);
        assert!(client.connect().await.is_ok());
        let client = Client::<TestProtocol>::builder(String::from(text));
        assert!(client.connect().await.is_ok());
    }
    let client = Client::<TestProtocol>::builder("localhost");
    let error = client.connect().await.unwrap_err();
    assert!(matches!(&error, ConnectError::Address(_)), "{error:?}");
}
