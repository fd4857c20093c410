//! What a broker tells over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::TestBroker;

impl TestBroker {
    /// The whole answer, head and body, to a GET.
    pub fn http(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http_address()).expect("HTTP does not listen");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// A figure of the metrics page, by its name and labels.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.http("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {name} in\n{page}"));
        value.trim().parse().unwrap_or_else(|_| panic!("{name} is {value}"))
    }
}
