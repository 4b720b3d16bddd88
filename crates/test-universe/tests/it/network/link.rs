//! Latency, bandwidth, pieces, windows.

use super::*;

#[test]
fn bytes_arrive_after_the_latency_of_their_link() {
    simulated(1, |network| async move {
        let (alpha, beta) = (network.host("alpha"), network.host("beta"));
        network.set_link("beta", "alpha", Link::new().latency(ms(30)));
        let listener = alpha.enter(|| network.listen(alpha.address(PORT))).unwrap();
        let dial = beta.scope(network.connect(alpha.address(PORT)));
        let (stream, took) = timed(dial).await;
        assert_eq!(took, ms(60), "a round trip");
        let mut near = stream.unwrap();
        near.write_all(b"hello").await.unwrap();
        let ((mut far, _), took) = timed(async { listener.accept().await.unwrap() }).await;
        assert_eq!(took, ms(30));
        let (hello, took) = timed(read(&mut far)).await;
        assert_eq!((hello.unwrap(), took), (b"hello".to_vec(), ms(0)));

        let start = time::now();
        near.write_all(b"one").await.unwrap();
        time::sleep(ms(10)).await;
        near.write_all(b"two").await.unwrap();
        assert_eq!(read(&mut far).await.unwrap(), b"one");
        assert_eq!(time::now() - start, ms(30));
        assert_eq!(read(&mut far).await.unwrap(), b"two");
        assert_eq!(time::now() - start, ms(40));

        // Others have the default, which takes no time.
        let other = network.connect(alpha.address(PORT));
        assert_eq!(timed(other).await.1, ms(0));
    });
}

#[test]
fn bandwidth_is_shared_by_connections_and_not_by_directions() {
    simulated(1, |network| async move {
        let line = Link::new().bandwidth(10_000).latency(ms(5));
        network.set_default_link(line.window(1_000_000));
        let (mut near, mut far, listener) = ends(&network).await;
        let (_, took) = timed(near.write_all(&[0; 100_000])).await;
        assert_eq!(took, ms(0), "the window takes them all");
        let mut all = vec![0; 100_000];
        let (_, took) = timed(far.read_exact(&mut all)).await;
        assert_eq!(took, secs(10) + ms(5));

        // Two connections share it.
        let mut other = network.connect(listener.local_addr()).await.unwrap();
        let (mut far_too, _) = listener.accept().await.unwrap();
        near.write_all(&[0; 5_000]).await.unwrap();
        other.write_all(&[0; 5_000]).await.unwrap();
        let (_, took) = timed(far_too.read_exact(&mut all[..5_000])).await;
        assert_eq!(took, secs(1) + ms(5));
        // But not the two directions.
        far.write_all(&[0; 5_000]).await.unwrap();
        let (_, took) = timed(near.read_exact(&mut all[..5_000])).await;
        assert_eq!(took, ms(505));
    });
}

/// When each of a hundred bytes arrives that are sent at once.
fn arrivals(seed: u64) -> Vec<(u8, Duration)> {
    simulated(seed, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)).jitter(ms(10)));
        let (mut near, mut far, _listener) = ends(&network).await;
        let start = time::now();
        let send = async {
            for n in 0..100 {
                near.write_all(&[n]).await.unwrap();
                time::sleep(ms(1)).await;
            }
        };
        let receive = async {
            let mut arrivals = Vec::new();
            while arrivals.len() < 100 {
                let bytes = read(&mut far).await.unwrap();
                let at = time::now() - start;
                arrivals.extend(bytes.into_iter().map(|n| (n, at)));
            }
            arrivals
        };
        future::zip(send, receive).await.1
    })
}

#[test]
fn jitter_is_drawn_from_the_seed_and_keeps_bytes_in_order() {
    let seen = arrivals(1);
    assert_eq!(seen, arrivals(1));
    assert_ne!(seen, arrivals(2));
    for (n, (byte, at)) in (0..).zip(seen) {
        assert_eq!(u64::from(byte), n);
        assert!(ms(n + 10) <= at && at <= ms(n + 20), "{n} after {at:?}");
    }
}

#[test]
fn pieces_limits_reads_and_writes_to_random_sizes() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().pieces(4));
        let (mut near, mut far, _listener) = ends(&network).await;
        let sent: Vec<u8> = (0..200).collect();
        let (mut writes, mut reads) = ([0; 5], [0; 5]);
        let mut left = &sent[..];
        while !left.is_empty() {
            let count = near.write(left).await.unwrap();
            writes[count] += 1;
            left = &left[count..];
        }
        let mut received = Vec::new();
        while received.len() < sent.len() {
            let bytes = read(&mut far).await.unwrap();
            reads[bytes.len()] += 1;
            received.extend(bytes);
        }
        assert_eq!(received, sent);
        for sizes in [writes, reads] {
            assert_eq!(sizes[0], 0);
            assert!(sizes[1..].iter().all(|&count| count > 0), "{sizes:?}");
        }
    });
}

#[test]
fn write_waits_when_the_window_is_full() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().window(1000));
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(&[0; 1000]).await.unwrap();
        let more = time::timeout(secs(3600), near.write(&[0; 100]));
        assert!(more.await.is_err());
        let read = async {
            time::sleep(secs(1)).await;
            far.read(&mut [0; 10]).await.unwrap()
        };
        let (wrote, _) = future::zip(near.write(&[0; 100]), read).await;
        assert_eq!(wrote.unwrap(), 10, "as much as was read");
        // The other direction has a window of its own.
        far.write_all(&[0; 1000]).await.unwrap();
    });
}

#[test]
fn infinite_latency_or_jitter_never_delivers() {
    for line in [
        Link::new().latency(Duration::MAX),
        Link::new().jitter(Duration::MAX),
        Link::new().bandwidth(1).latency(Duration::MAX),
    ] {
        simulated(1, |network| async move {
            let (mut ours, mut theirs, _listener) = ends(&network).await;
            network.set_default_link(line);
            ours.write_all(b"x").await.unwrap();
            let mut room = [0];
            let word = time::timeout(secs(500_000), theirs.read_exact(&mut room));
            assert!(word.await.is_err());
        });
    }
}

/// How much of a write has arrived, and how long after it.
async fn progress(near: &mut Stream, far: &mut Stream, bytes: usize) -> Vec<(usize, Duration)> {
    let start = time::now();
    near.write_all(&vec![7; bytes]).await.unwrap();
    let (mut seen, mut arrived) = (Vec::new(), 0);
    while arrived < bytes {
        arrived += read(far).await.unwrap().len();
        seen.push((arrived, time::now() - start));
    }
    seen
}

#[test]
fn write_over_a_slow_link_arrives_in_parts() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(5)).bandwidth(100));
        let (mut near, mut far, _listener) = ends(&network).await;
        let seen = progress(&mut near, &mut far, 10_000).await;
        assert_eq!(seen[0], (100, secs(1) + ms(5)), "the first");
        assert_eq!(seen[49], (5_000, secs(50) + ms(5)), "the middle");
        assert_eq!(seen[99..], [(10_000, secs(100) + ms(5))], "the last");
    });
}

#[test]
fn parts_of_a_write_have_limits_in_time_number_and_size() {
    // The bandwidth, the bytes, and how many parts they come in: so long each, or a bit more.
    for (bandwidth, bytes, parts, each) in [
        (1_000, 10, 1, ms(10)),
        (1_000, 11, 2, ms(5)),
        (1_000, 640, 64, ms(10)),
        (1_000, 6_400, 64, ms(100)),
        (1_000, 65_000, 65, secs(1)),
        (10_000_000, 1_000, 1, Duration::from_micros(100)),
        (1, 3, 3, secs(1)),
        (1, 1, 1, secs(1)),
    ] {
        let line = Link::new().bandwidth(bandwidth);
        let seen = simulated(1, |network| async move {
            network.set_default_link(line);
            let (mut near, mut far, _listener) = ends(&network).await;
            progress(&mut near, &mut far, bytes).await
        });
        let whole = Duration::from_secs(1) * bytes as u32 / bandwidth as u32;
        let mut times: Vec<_> = seen.iter().map(|&(_, at)| at).collect();
        times.dedup();
        assert_eq!(times.len(), parts, "{bytes} over {bandwidth}: {seen:?}");
        assert_eq!(times.last(), Some(&whole));
        for (n, &at) in (1..).zip(&times) {
            assert!(each * n <= at && at <= whole, "{n} after {at:?}");
        }
        for (arrived, at) in seen {
            let carried = at.as_nanos() * u128::from(bandwidth) / 1_000_000_000;
            assert!(arrived as u128 <= carried, "{arrived} after {at:?}");
        }
    }
}

#[test]
fn parts_of_one_write_have_the_same_jitter() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().jitter(secs(60)).bandwidth(1_000));
        let (mut near, mut far, _listener) = ends(&network).await;
        let seen = progress(&mut near, &mut far, 640).await;
        assert_eq!(seen.len(), 64);
        for (n, &(arrived, at)) in (0..).zip(&seen) {
            assert_eq!(arrived, 10 * (n as usize + 1));
            assert_eq!(at, seen[0].1 + ms(10) * n);
        }
        assert!(seen[0].1 > ms(10));
    });
}
