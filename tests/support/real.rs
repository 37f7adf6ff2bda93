//! Debian's docker-registry on loopback: plain, with a password, over TLS with a CA of our own.

use super::{Home, find};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A port that is free now, and hardly taken within a moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A docker-registry on loopback; it ends with the value.
pub struct Real {
    child: Child,
    pub port: u16,
}

impl Real {
    /// With its files in `home`; `more` are further lines of its configuration's `http` and `auth`.
    pub fn start(home: &Home, http: &str, auth: &str) -> Self {
        let port = free_port();
        let root = home.path("registry");
        std::fs::create_dir_all(&root).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n{http}{auth}",
            root.display()
        );
        std::fs::write(home.path("registry.yml"), config).unwrap();
        let mut child = Command::new(find("docker-registry").unwrap())
            .arg("serve")
            .arg(home.path("registry.yml"))
            .env_remove("OTEL_TRACES_EXPORTER")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > Duration::from_secs(20) || child.try_wait().unwrap().is_some() {
                drop(child.kill());
                let mut said = String::new();
                let stderr = child.stderr.as_mut().unwrap();
                stderr.read_to_string(&mut said).unwrap();
                panic!("docker-registry does not start: {said}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }

    /// A CA, and a certificate of it for localhost and 127.0.0.1.
    pub fn certificates(home: &Home) {
        Self::certificates_for(home, "localhost,IP:127.0.0.1");
    }

    /// A CA, and a certificate of it for these names: `ca.pem`, `tls.pem` and `tls.key`.
    pub fn certificates_for(home: &Home, names: &str) {
        let openssl = |args: &str| {
            let out = Command::new(find("openssl").unwrap())
                .args(args.split(' '))
                .current_dir(home.path("."))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "openssl {args}: {said}");
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=lab -days 2"
        ));
        openssl(&format!(
            "req {key} -keyout tls.key -out tls.csr -subj /CN=localhost"
        ));
        std::fs::write(
            home.path("names"),
            format!("subjectAltName=DNS:{names}\nextendedKeyUsage=serverAuth\n"),
        )
        .unwrap();
        openssl(
            "x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile names",
        );
    }

    /// The lines of docker-registry's configuration that name them.
    pub fn tls(home: &Home) -> String {
        format!(
            "  tls: {{certificate: {}, key: {}}}\n",
            home.path("tls.pem").display(),
            home.path("tls.key").display()
        )
    }

    /// The lines of its configuration that let one user in.
    pub fn htpasswd(home: &Home, user: &str, password: &str) -> String {
        let made = Command::new(find("htpasswd").unwrap())
            .args(["-Bbn", user, password])
            .output()
            .unwrap();
        std::fs::write(home.path("htpasswd"), made.stdout).unwrap();
        let path = home.path("htpasswd");
        format!(
            "auth: {{htpasswd: {{realm: lab, path: {}}}}}\n",
            path.display()
        )
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
