//! ApiVersions (KIP-35, KIP-511).

use crate::response::Answer;
use klamm_base::ErrorCode;
use klamm_wire::ApiKey;
use klamm_wire::api::SUPPORTED;
use klamm_wire::messages::ApiVersionsResponse;
use klamm_wire::messages::api_versions_response::ApiVersion;

/// What is served. Produce is advertised from version 0, because old librdkafka takes a missing version 0 for "knows no
/// compression"; 0 to 2 are answered with error 35.
pub(crate) fn answer(error: ErrorCode) -> Answer {
    let version = |(api, min, max): &(ApiKey, i16, i16)| ApiVersion {
        api_key: api.code(),
        min_version: if *api == ApiKey::Produce { 0 } else { *min },
        max_version: *max,
    };
    Answer::ApiVersions(ApiVersionsResponse {
        error_code: error as i16,
        api_keys: SUPPORTED.iter().map(version).collect(),
        ..ApiVersionsResponse::default()
    })
}
