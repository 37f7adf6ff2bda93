//! Grants as they are reported: each with its value and where it comes from.

use crate::policy::{Granted, Grants, Origin, Resources};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

/// The grants as a list. Of variables there are the names alone: their values are secrets often
/// enough, and a report is handed on.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a>(pub &'a Grants);

#[derive(Serialize)]
struct Entry<'a, T: Serialize + ?Sized> {
    what: &'static str,
    value: &'a T,
    origin: &'a Origin,
}

impl Serialize for Given<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // All are named, so that none that is new is forgotten.
        let Grants {
            id_map,
            network,
            caps,
            syscalls,
            narrowed,
            devices,
            env,
            argv,
            workdir,
            user,
            hostname,
            read_only,
            ephemeral,
            tmp,
            tmpfs,
            binds,
            host_devices,
            pids,
            ulimits,
            tool,
            timeout,
            resources,
            verify,
            explain,
            // How streams are connected gives nothing.
            tty: _,
            interactive: _,
            stop_signal,
            stop_timeout,
            // Beside the grants.
            downgrades: _,
            notes: _,
        } = self.0;
        let mut out = serializer.serialize_seq(None)?;
        macro_rules! put {
            ($what:literal, $granted:expr) => {{
                let Granted { value, origin } = $granted;
                put!($what, value, origin);
            }};
            ($what:literal, $value:expr, $origin:expr) => {
                out.serialize_element(&Entry {
                    what: $what,
                    value: $value,
                    origin: $origin,
                })?
            };
        }
        put!("id_map", id_map);
        put!("network", network);
        if caps.value.is_empty() {
            put!("caps", &[(); 0], &caps.origin);
        }
        for cap in &caps.value {
            put!("cap", cap);
        }
        put!("syscalls", syscalls);
        if let Some(narrowed) = narrowed {
            put!("seccomp", &narrowed.value.to_string(), &narrowed.origin);
        }
        put!("devices", devices);
        for device in host_devices {
            put!("host_device", device);
        }
        for bind in binds {
            put!("bind", bind);
        }
        for mount in tmpfs {
            put!("tmpfs", mount);
        }
        put!("tmp", tmp);
        put!("read_only", read_only);
        put!("ephemeral", ephemeral);
        put!("user", user);
        put!("hostname", hostname);
        put!("workdir", workdir);
        put!("argv", argv);
        for variable in env {
            put!("env", &variable.value.0, &variable.origin);
        }
        put!("pids", pids);
        for limit in ulimits {
            put!("ulimit", limit);
        }
        if let Some(timeout) = timeout {
            put!(
                "timeout_seconds",
                &timeout.value.as_secs_f64(),
                &timeout.origin
            );
        }
        let Resources {
            memory,
            swap,
            cpus,
            cpu_time,
            output,
            disk,
            // Where limits are held stands in the meters.
            cgroup: _,
        } = resources;
        for (what, limit) in [
            ("memory", memory),
            ("swap", swap),
            ("output", output),
            ("disk", disk),
        ] {
            if let Some(Granted { value, origin }) = limit {
                out.serialize_element(&Entry {
                    what,
                    value,
                    origin,
                })?;
            }
        }
        if let Some(Granted { value, origin }) = cpus {
            // Millicpus need no more than three digits.
            put!(
                "cpus",
                &(f64::from(u32::try_from(*value).unwrap_or(u32::MAX)) / 1000.0),
                origin
            );
        }
        if let Some(Granted { value, origin }) = cpu_time {
            put!("cpu_time_seconds", &value.as_secs_f64(), origin);
        }
        if let Some(signal) = stop_signal {
            put!("stop_signal", signal);
        }
        if let Some(timeout) = stop_timeout {
            let seconds = timeout.value.as_secs_f64();
            put!("stop_timeout_seconds", &seconds, &timeout.origin);
        }
        put!("verify", verify);
        if let Some(explain) = explain {
            put!("explain", explain);
        }
        if let Some(tool) = tool {
            put!("program", &tool.value.program, &tool.origin);
        }
        out.end()
    }
}
