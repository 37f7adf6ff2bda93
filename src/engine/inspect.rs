//! `lazaret inspect`.

use super::{InspectKind, InspectRequest, find, place, ps};
use crate::container::record::{Container, State};
use crate::error::{Error, Kind, Result};
use crate::image::{ImageConfig, ImageName, Manifest};
use crate::report::{self, Format, Template};
use crate::store::Store;
use serde_json::{Map, Value, json};

/// Prints what is known of containers and images, in docker's shape: one JSON array, or a template
/// for each. What is not found is told, and the others are printed.
///
/// # Errors
/// `Usage`: the template; `Io`, `Store`: the store cannot be read.
pub fn inspect(request: &InspectRequest) -> Result<u8> {
    let store = place::look_at_store()?;
    let mut found = Vec::with_capacity(request.names.len());
    let mut code = 0;
    for name in &request.names {
        match look(store.as_ref(), request.kind, name) {
            Ok(value) => found.push(value),
            Err(error) => {
                let error = error.action(format!("inspect {name}"));
                report::error(&error, Format::Text);
                code = error.exit_code();
            }
        }
    }
    print(found, request.format.as_ref())?;
    Ok(code)
}

/// Prints objects in docker's shape: one array, or a template for each.
pub(super) fn print(found: Vec<Value>, format: Option<&Template>) -> Result<()> {
    let mut text = String::new();
    match format {
        None => text = report::json_pretty(&Value::Array(found)) + "\n",
        Some(template) => {
            for value in &found {
                text.push_str(&template.render(value)?);
                text.push('\n');
            }
            // The values are other people's words; line feeds are the template's.
            text = report::clean_lines(&text).into_owned();
        }
    }
    report::stdout(&text)
}

fn look(store: Option<&Store>, kind: InspectKind, name: &str) -> Result<Value> {
    if kind != InspectKind::Image {
        let container = match super::containers(store)? {
            Some(containers) => containers.find(name),
            None => Err(Error::new(
                Kind::NotFound,
                format!("there is no container {name:?}"),
            )),
        };
        match container {
            Ok(container) => return Ok(of_container(&container)),
            Err(e) if kind == InspectKind::Any && e.kind == Kind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    match (of_image(store, name), kind) {
        (Err(e), InspectKind::Any) if e.kind == Kind::NotFound => Err(Error::new(
            Kind::NotFound,
            "there is no container and no image of this name or id",
        )
        .hint("`lazaret ps -a` and `lazaret images` list them")),
        (done, _) => done,
    }
}

fn of_image(store: Option<&Store>, name: &str) -> Result<Value> {
    let found = find::image(store, name)?;
    let (Some(store), Some(entry)) = (store, found.entries.first()) else {
        return Err(Error::new(Kind::NotFound, "there is no such image"));
    };
    let image = store.image(&entry.reference)?;
    let names = || found.entries.iter().map(|e| &e.reference);
    let tags: Vec<_> = names().map(|r| super::rmi::familiar(&r.name)).collect();
    let digests: Vec<_> = names()
        .filter_map(|r| match ImageName::parse(&r.name) {
            Ok(ImageName::Registry(_)) => {
                let (repository, _) = super::images::split_name(&r.name);
                Some(format!("{repository}@{}", r.manifest))
            }
            _ => None,
        })
        .collect();
    let size = image.manifest_bytes.len();
    let mut object = object(&image.manifest, size, &image.config);
    for (key, value) in [
        ("RepoTags", json!(tags)),
        ("RepoDigests", json!(digests)),
        ("Size", json!(entry.size)),
        ("Source", json!(entry.reference.source)),
    ] {
        object.insert(key.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// What an image's own documents say of it; `size` is the manifest's.
pub(super) fn object(manifest: &Manifest, size: usize, config: &ImageConfig) -> Map<String, Value> {
    let layers: Vec<_> = manifest
        .layers
        .iter()
        .zip(&config.diff_ids)
        .map(|(layer, diff_id)| {
            json!({
                "MediaType": layer.media_type,
                "Digest": layer.digest.to_string(),
                "Size": layer.size,
                "DiffID": diff_id.0.to_string(),
            })
        })
        .collect();
    let object = json!({
        "Id": manifest.config.digest.to_string(),
        "Created": config.created,
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant,
        "Os": config.platform.os,
        "Config": config_of(config),
        "RootFS": {
            "Type": "layers",
            "Layers": config.diff_ids.iter().map(|d| d.0.to_string()).collect::<Vec<_>>(),
        },
        "History": config.history,
        "Descriptor": {
            "mediaType": manifest.media_type,
            "digest": manifest.digest.to_string(),
            "size": size,
        },
        "Layers": layers,
    });
    match object {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn config_of(config: &ImageConfig) -> Value {
    let set = |names: &[String]| -> Value {
        let pairs = names.iter().map(|name| (name.clone(), json!({})));
        Value::Object(pairs.collect())
    };
    let env: Vec<_> = config.env.iter().map(|(n, v)| format!("{n}={v}")).collect();
    json!({
        "User": config.user,
        "Env": env,
        "Entrypoint": config.entrypoint,
        "Cmd": config.cmd,
        "WorkingDir": config.working_dir,
        "Volumes": set(&config.volumes),
        "ExposedPorts": set(&config.exposed_ports),
        "StopSignal": config.stop_signal,
        "Labels": config.labels,
    })
}

fn of_container(container: &Container) -> Value {
    let record = &container.record;
    let (path, args) = match record.argv.split_first() {
        Some((path, args)) => (path.as_str(), args),
        None => ("", &[][..]),
    };
    let (code, finished) = match container.state {
        State::Exited(end) => (i32::from(end.code), ps::instant(end.at).to_string()),
        State::Running => (0, "0001-01-01T00:00:00Z".to_owned()),
        State::Killed => (137, "0001-01-01T00:00:00Z".to_owned()),
    };
    let running = container.state == State::Running;
    let created = ps::instant(record.created).to_string();
    json!({
        "Id": record.id,
        "Created": created,
        "Path": path,
        "Args": args,
        "State": {
            "Status": ps::state(container),
            "Running": running,
            "Dead": container.state == State::Killed,
            "Pid": if running { record.pid } else { 0 },
            "ExitCode": code,
            "StartedAt": created,
            "FinishedAt": finished,
        },
        "Image": record.image_id.to_string(),
        "Name": format!("/{}", record.name),
        "Config": { "Image": record.image, "Cmd": record.argv, "Labels": record.labels },
        "HostConfig": { "AutoRemove": record.ephemeral, "NetworkMode": "none", "Privileged": false },
        "Mounts": [],
        "Manifest": record.manifest.to_string(),
    })
}
