//! The door is asked as Prometheus asks it, and as strangers may.

use super::*;
use protocol::Block;

/// Limits under which tests of patience are fast.
const HASTY: Limits = Limits {
    connections_max: 4,
    patience: Duration::from_millis(300),
    rest_patience: Duration::from_millis(50),
};
/// Longest that a test waits for what must come.
const LONG: Duration = Duration::from_secs(20);

fn server(limits: Limits) -> (Server, Arc<Health>) {
    let metrics = Arc::new(Metrics::of_validator(&["tiny"]));
    let turns = super::super::health::Turns { name: "duties", within: LONG };
    let health = Arc::new(Health::new(Duration::from_secs(12), &[turns]));
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::start_within(limits, listen, metrics, Arc::clone(&health)).unwrap();
    (server, health)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// All that is answered to some bytes, until the server hangs up.
fn ask(server: &Server, request: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &Server, path: &str) -> String {
    ask(server, format!("GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\n\r\n").as_bytes())
}

/// Whether the server has hung up without a word.
fn is_hung_up(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn the_three_pages_are_answered_and_nothing_else() {
    let (server, health) = server(LIMITS);
    let metrics = get(&server, "/metrics?x=1");
    let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("agon_rounds_ended_total{competition=\"tiny\"} 0\n"), "{body}");

    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    let unready = get(&server, "/readyz");
    assert!(unready.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{unready}");
    assert!(unready.contains("journal") && unready.contains("no block"), "{unready}");
    health.journal_open();
    health.head(Block(1));
    assert!(get(&server, "/readyz").ends_with("\r\n\r\nok\n"));

    for path in ["/", "/metrics/", "/../etc/passwd", "http://x/metrics"] {
        assert!(get(&server, path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    for method in ["POST", "HEAD", "get", "DELETE"] {
        let answer = ask(&server, format!("{method} /metrics HTTP/1.1\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: GET\r\n"));
    }
    for wrong in ["\r\n\r\n", "GET\r\n\r\n", "GET /metrics\r\n\r\n", "GET /metrics HTTP/2\r\n\r\n"]
    {
        assert!(ask(&server, wrong.as_bytes()).starts_with("HTTP/1.1 400 "), "{wrong:?}");
    }
    assert!(ask(&server, b"\xff\x00 \xfe HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
}

#[test]
fn a_request_may_come_in_pieces() {
    let (server, _) = server(LIMITS);
    let mut stream = connect(&server);
    for piece in ["GET /hea", "lthz HTTP/1.1\r\nA: b\r", "\n\r", "\n"] {
        stream.write_all(piece.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[test]
fn attack_a_head_without_end_is_refused() {
    let (server, _) = server(LIMITS);
    let answer = ask(&server, &[b'a'; HEAD_BYTES_MAX + 2048]);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX * 2));
    assert!(ask(&server, long.as_bytes()).starts_with("HTTP/1.1 431 "));
}

#[test]
fn attack_who_writes_a_byte_now_and_then_is_hung_up_on_in_time() {
    let (server, _) = server(HASTY);
    let mut slow = connect(&server);
    let began = Instant::now();
    // Each byte comes well within any time for one read.
    while slow.write_all(b"G").is_ok() && began.elapsed() < LONG {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() < LONG, "nobody hung up");
    assert!(is_hung_up(&mut slow));
    let mut silent = connect(&server);
    assert!(is_hung_up(&mut silent));
    assert!(get(&server, "/healthz").ends_with("ok\n"));
}

#[test]
fn attack_idle_connections_keep_nobody_out() {
    let limits = Limits { patience: LONG, ..HASTY };
    let (server, _) = server(limits);
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..limits.connections_max * 3 {
        idle.push(connect(&server));
        // Those that had to go need a moment to be gone.
        while server.shared.seats().n_threads > limits.connections_max {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(get(&server, "/healthz").ends_with("ok\n"), "the oldest has to go");
    assert!(idle.iter_mut().take(limits.connections_max).all(is_hung_up));
    assert!(server.shared.seats().taken.len() <= limits.connections_max);
}

#[test]
fn attack_a_flood_of_connections_starts_few_threads() {
    let (server, _) = server(HASTY);
    let flood: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
    assert!(server.shared.seats().n_threads <= 2 * HASTY.connections_max);
    drop(flood);
    let began = Instant::now();
    while !ask_quietly(&server).ends_with("ok\n") {
        assert!(began.elapsed() < LONG, "the door stays shut");
    }
}

/// What is answered, or nothing where the server hung up.
fn ask_quietly(server: &Server) -> String {
    let mut stream = connect(server);
    let mut answer = String::new();
    // A flood that has not ebbed yet may take the place of this one.
    if stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").is_ok() {
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

#[test]
fn attack_who_does_not_read_its_answer_is_hung_up_on() {
    let (server, _) = server(HASTY);
    let mut deaf = connect(&server);
    deaf.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(deaf.peek(&mut [0]).unwrap(), 1, "it is answered");
    let began = Instant::now();
    while server.shared.seats().n_threads > 0 {
        assert!(began.elapsed() < LONG, "the seat is not free again");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_that_is_dropped_hangs_up_and_lets_its_port_go() {
    let (server, _) = server(LIMITS);
    let address = server.address();
    let mut idle = connect(&server);
    // Its seat is taken once another, who came later, was answered.
    assert!(get(&server, "/healthz").ends_with("ok\n"));
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < LIMITS.patience, "an idle connection keeps nobody waiting");
    assert!(is_hung_up(&mut idle));
    assert!(TcpStream::connect(address).is_err());
    let error = Server::start(
        "192.0.2.1:1".parse().unwrap(),
        Arc::new(Metrics::of_miner()),
        Arc::new(Health::new(Duration::from_secs(1), &[])),
    );
    assert!(error.unwrap_err().to_string().contains("192.0.2.1:1"));
}
