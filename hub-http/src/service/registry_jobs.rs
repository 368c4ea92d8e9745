//! Imports and exports of the registry, and where back ends put their files.

use http::StatusCode;
use hub_core::blob::{BlobFolder, FolderProof};
use hub_core::bulk::{RegistryJob, RegistryWork};
use hub_core::engine::{Action, ExportJobSpec, ImportJobSpec};
use hub_core::id::JobId;
use hub_core::security::Right;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::call::Call;
use crate::json::identity::{Object, Text};
use crate::problem::{Code, Problem};
use crate::respond;
use crate::route::{Answer, Content, Route, Verb, query};

const JOB: &[(u16, &str, Content)] = &[(200, "The job.", Content::Json("RegistryJob"))];

pub(crate) static ROUTES: &[Route] = &[
    Route::new(
        Verb::Post,
        "/jobs/create",
        "createRegistryJob",
        "Asks for an import or an export of the registry. There is one at a time.",
        |call| Box::pin(create(call)),
    )
    .service(Right::RegistryWrite)
    .takes(Content::Json("RegistryJobRequest"))
    .gives(JOB),
    Route::new(
        Verb::Get,
        "/jobs",
        "listRegistryJobs",
        "Lists imports and exports of the registry, those asked for last first.",
        |call| Box::pin(list(call)),
    )
    .service(Right::RegistryRead)
    .gives(&[(200, "The jobs.", Content::List("RegistryJob"))]),
    Route::new(
        Verb::Get,
        "/jobs/{jobId}",
        "getRegistryJob",
        "Reads an import or export and how far it has come.",
        |call| Box::pin(get(call)),
    )
    .service(Right::RegistryRead)
    .gives(JOB),
    Route::new(
        Verb::Delete,
        "/jobs/{jobId}",
        "cancelRegistryJob",
        "Cancels an import or export. What was done stays; one that is over stays as it is.",
        |call| Box::pin(cancel(call)),
    )
    .service(Right::RegistryWrite)
    .gives(&[(204, "It is over.", Content::Nothing)]),
    Route::new(
        Verb::Get,
        "/files/container",
        "getContainerAddress",
        "Gives the address of a folder for imports and exports. Where the hub's files are in a \
         directory, its holder may read, write and delete what is in it for some time.",
        |call| Box::pin(container(call)),
    )
    .service(Right::RegistryWrite)
    .own()
    .with(&[query(
        "name",
        "The folder's name; that of the folder of all such folders if not given.",
    )])
    .gives(&[(200, "The address.", Content::Json("FileAddress"))]),
];

/// Largest body of a request for a job.
const BODY_MAX: usize = 64 * 1024;

async fn create(mut call: Call) -> Answer {
    let body = call.read_body(BODY_MAX).await?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| Problem::json(&error))?;
    let request = Object::of(&document, "the body")?;
    let proof = match request.text("storageAuthenticationType")? {
        Some(word) if word.eq_ignore_ascii_case("identityBased") => FolderProof::Hub,
        Some(word) if !word.eq_ignore_ascii_case("keyBased") => {
            return Err(Problem::argument("storageAuthenticationType is unknown"));
        }
        _ => FolderProof::Signature,
    };
    if request.flag("includeConfigurations")? == Some(true) {
        return Err(Problem::argument("configurations are neither imported nor exported"));
    }
    let needed = |name: &'static str| {
        let text = request.text(name)?.filter(|text| !text.is_empty());
        let missing = || Problem::new(Code::ARGUMENT_NULL, format!("{name} is missing"));
        text.map(str::to_owned).ok_or_else(missing)
    };
    let name = |name: &str| {
        let text = request.text(name)?.filter(|text| !text.is_empty());
        Ok::<_, Problem>(text.map(str::to_owned))
    };
    let kind = needed("type")?;
    call.allow(Action::WriteRegistryJob).await?;
    let jobs = call.hub().registry_jobs();
    let job = if kind.eq_ignore_ascii_case("export") {
        let mut spec = ExportJobSpec::new(needed("outputBlobContainerUri")?);
        spec.blob = name("outputBlobName")?;
        spec.exclude_keys = request.flag("excludeKeysInExport")?.unwrap_or(false);
        spec.proof = proof;
        jobs.export(spec).await?
    } else if kind.eq_ignore_ascii_case("import") {
        let (input, output) = (needed("inputBlobContainerUri")?, needed("outputBlobContainerUri")?);
        let mut spec = ImportJobSpec::new(input, output);
        spec.blob = name("inputBlobName")?;
        spec.proof = proof;
        jobs.import(spec).await?
    } else {
        return Err(Problem::argument("type is neither import nor export"));
    };
    Ok(respond::json(StatusCode::OK, &RegistryJobJson(&job)))
}

fn id(call: &Call) -> Result<JobId, Problem> {
    JobId::new(call.value("jobId")?).map_err(|error| Problem::argument(error.to_string()))
}

async fn get(call: Call) -> Answer {
    let id = id(&call)?;
    call.allow(Action::ReadRegistryJobs).await?;
    let job = call.hub().registry_jobs().get(&id).await?;
    Ok(respond::json(StatusCode::OK, &RegistryJobJson(&job)))
}

async fn list(call: Call) -> Answer {
    call.allow(Action::ReadRegistryJobs).await?;
    let jobs = call.hub().registry_jobs().list().await?;
    let documents: Vec<RegistryJobJson<'_>> = jobs.iter().map(RegistryJobJson).collect();
    Ok(respond::json(StatusCode::OK, &documents))
}

async fn cancel(call: Call) -> Answer {
    let id = id(&call)?;
    call.allow(Action::WriteRegistryJob).await?;
    call.hub().registry_jobs().cancel(&id).await?;
    Ok(respond::no_content())
}

async fn container(call: Call) -> Answer {
    let name = call.query().form("name").unwrap_or_default();
    let folder = BlobFolder::new(&name).map_err(|error| Problem::argument(error.to_string()))?;
    call.allow(Action::WriteRegistryJob).await?;
    let (address, expiry) = call.hub().folder_address(&folder).await?;
    let document = json!({ "uri": address.as_str(), "expiryTimeUtc": expiry.to_string() });
    Ok(respond::json(StatusCode::OK, &document))
}

/// A job as the SDKs read it. The addresses of its folders are without the rights that were in them.
struct RegistryJobJson<'a>(&'a RegistryJob);

impl Serialize for RegistryJobJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let job = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("jobId", job.id.as_str())?;
        map.serialize_entry("startTimeUtc", &Text(job.started().unwrap_or(job.created)))?;
        if let Some(ended) = job.ended() {
            map.serialize_entry("endTimeUtc", &Text(ended))?;
        }
        match &job.work {
            RegistryWork::Export { output, exclude_keys } => {
                map.serialize_entry("type", "export")?;
                map.serialize_entry("outputBlobContainerUri", &output.folder)?;
                map.serialize_entry("outputBlobName", &output.name)?;
                map.serialize_entry("excludeKeysInExport", exclude_keys)?;
            }
            RegistryWork::Import { input, log } => {
                map.serialize_entry("type", "import")?;
                map.serialize_entry("inputBlobContainerUri", &input.folder)?;
                map.serialize_entry("inputBlobName", &input.name)?;
                map.serialize_entry("outputBlobContainerUri", &log.folder)?;
            }
            _ => {}
        }
        map.serialize_entry("status", job.status())?;
        map.serialize_entry("progress", &job.progress().percent)?;
        let proof = match job.proof {
            FolderProof::Signature => "keyBased",
            FolderProof::Hub => "identityBased",
        };
        map.serialize_entry("storageAuthenticationType", proof)?;
        map.serialize_entry("includeConfigurations", &false)?;
        map.serialize_entry("failureReason", &job.failure())?;
        map.end()
    }
}
