package gateway

import (
	"bytes"
	"encoding/xml"

	"github.com/valyala/fasthttp"
)

// s3ErrorDoc is what the gateway reads of an error document, see "Error
// Responses" in the Amazon S3 API Reference. All of it may be the origin's
// invention.
type s3ErrorDoc struct {
	Code             string
	Region           string // the bucket's, with redirects
	ActualObjectSize int64  // bytes, with InvalidRange; -1: not given
}

// parseS3Error reads an error document. Of what is no such document, the code
// is empty.
func parseS3Error(doc []byte) s3ErrorDoc {
	e := s3ErrorDoc{ActualObjectSize: -1}
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.Strict = true
	if err := d.Decode(&e); err != nil || !wellFormedCode(e.Code) {
		return s3ErrorDoc{ActualObjectSize: -1}
	}
	if !wellFormedCode(e.Region) {
		e.Region = ""
	}
	return e
}

// wellFormedCode keeps a log free of what an origin may put into its document.
func wellFormedCode(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(s) <= 64
}

// s3Outcome is how the gateway answers an error of the origin, and what it
// calls it in logs and metrics.
type s3Outcome struct {
	status     int
	code       string // `error` of the body
	message    string
	reason     string // typed, for log and metric
	retryAfter int    // seconds
}

// The answers to errors of an origin.
var (
	outcomeNoSuchKey = &s3Outcome{fasthttp.StatusNotFound, "not_found", "the object does not exist", "no_such_key", 0}
	outcomeDenied    = &s3Outcome{fasthttp.StatusForbidden, "access_denied", "the origin does not let the gateway read this object", "access_denied", 0}
	outcomeArchived  = &s3Outcome{fasthttp.StatusForbidden, "object_archived", "the object is archived and must be restored before it can be read", "object_archived", 0}
	outcomeFailed    = &s3Outcome{fasthttp.StatusPreconditionFailed, problemFailed.code, problemFailed.message, "precondition_failed", 0}
	outcomeRange     = &s3Outcome{fasthttp.StatusRequestedRangeNotSatisfiable, problemRange.code, problemRange.message, "invalid_range", 0}
	outcomeBadKey    = &s3Outcome{fasthttp.StatusBadRequest, "bad_key", "the origin does not accept this object key or version", "bad_key", 0}

	outcomeNoBucket    = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the gateway's bucket does not exist at the origin", "no_such_bucket", 0}
	outcomeKMS         = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin cannot decrypt the object", "kms", 0}
	outcomeCredentials = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", 0}
	outcomeSignature   = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "signature", 0}
	outcomeClock       = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the clocks of the gateway and the origin differ", "clock_skew", 0}
	outcomeRedirect    = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the bucket is in another region or at another address", "redirect_region", 0}
	outcomeInternal    = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin failed", "internal_error", 0}
	outcomeNonsense    = &s3Outcome{fasthttp.StatusBadGateway, problemProtocol.code, problemProtocol.message, "protocol", 0}
	outcomeSlowDown    = &s3Outcome{fasthttp.StatusServiceUnavailable, "overloaded", "the origin is overloaded; try again soon", "slow_down", 1}
	outcomeTimeout     = &s3Outcome{fasthttp.StatusGatewayTimeout, problemTimeout.code, problemTimeout.message, "timeout", 0}
)

// s3Codes is the one table of error codes. See "List of error codes" in the
// Amazon S3 API Reference; codes that begin with X are MinIO's.
var s3Codes = map[string]*s3Outcome{
	"NoSuchKey":                 outcomeNoSuchKey,
	"NoSuchVersion":             outcomeNoSuchKey,
	"MethodNotAllowed":          outcomeNoSuchKey, // a delete marker, asked for by its version
	"NoSuchPart":                outcomeRange,
	"InvalidPartNumber":         outcomeRange,
	"InvalidRange":              outcomeRange,
	"PreconditionFailed":        outcomeFailed,
	"AccessDenied":              outcomeDenied,
	"InvalidObjectState":        outcomeArchived,
	"InvalidArgument":           outcomeBadKey, // a malformed version id
	"InvalidURI":                outcomeBadKey,
	"KeyTooLongError":           outcomeBadKey,
	"XMinioInvalidObjectName":   outcomeBadKey,
	"XMinioInvalidResourceName": outcomeBadKey,

	"NoSuchBucket":      outcomeNoBucket,
	"InvalidBucketName": outcomeNoBucket,

	"KMS.DisabledException":         outcomeKMS,
	"KMS.InvalidKeyUsageException":  outcomeKMS,
	"KMS.KMSInvalidStateException":  outcomeKMS,
	"KMS.InvalidStateException":     outcomeKMS,
	"KMS.KeyUnavailableException":   outcomeKMS,
	"KMS.NotFoundException":         outcomeKMS,
	"XMinioKMSKeyNotFoundException": outcomeKMS,
	"XMinioKMSNotConfigured":        outcomeKMS,

	"InvalidAccessKeyId":                outcomeCredentials,
	"XAdminUserNotFound":                outcomeCredentials, // versitygw's word for an unknown key
	"InvalidToken":                      outcomeCredentials,
	"ExpiredToken":                      outcomeCredentials,
	"TokenRefreshRequired":              outcomeCredentials,
	"InvalidSecurity":                   outcomeCredentials,
	"AccountProblem":                    outcomeCredentials,
	"AllAccessDisabled":                 outcomeCredentials,
	"NotSignedUp":                       outcomeCredentials,
	"SignatureDoesNotMatch":             outcomeSignature,
	"AuthorizationHeaderMalformed":      outcomeSignature,
	"AuthorizationQueryParametersError": outcomeSignature,
	"CredentialsNotSupported":           outcomeSignature,
	"InvalidSignature":                  outcomeSignature,
	"MissingSecurityHeader":             outcomeSignature,
	"XAmzContentSHA256Mismatch":         outcomeSignature,
	"RequestTimeTooSkewed":              outcomeClock,
	"RequestExpired":                    outcomeClock,

	"PermanentRedirect":                  outcomeRedirect,
	"Redirect":                           outcomeRedirect,
	"TemporaryRedirect":                  outcomeRedirect,
	"IllegalLocationConstraintException": outcomeRedirect,

	"SlowDown":                               outcomeSlowDown,
	"SlowDownRead":                           outcomeSlowDown,
	"ServiceUnavailable":                     outcomeSlowDown,
	"Busy":                                   outcomeSlowDown,
	"RequestLimitExceeded":                   outcomeSlowDown,
	"BandwidthLimitExceeded":                 outcomeSlowDown,
	"XMinioServerNotInitialized":             outcomeSlowDown,
	"XMinioStorageInsufficientReadResources": outcomeSlowDown,
	"InternalError":                          outcomeInternal,
	"RequestTimeout":                         outcomeTimeout,
}

// classify returns the answer to an error status of an origin and the code of
// its document, empty if it had none. An unknown code is judged by the status,
// and never as success, absence or permission of something else.
func classify(status int, code string) *s3Outcome {
	if o := s3Codes[code]; o != nil {
		return o
	}
	switch {
	case status == fasthttp.StatusNotFound && code == "":
		return outcomeNoSuchKey
	case status == fasthttp.StatusForbidden:
		return outcomeDenied
	case status == fasthttp.StatusPreconditionFailed:
		return outcomeFailed
	case status == fasthttp.StatusRequestedRangeNotSatisfiable:
		return outcomeRange
	case status >= 300 && status < 400:
		return outcomeRedirect
	case status == fasthttp.StatusServiceUnavailable, status == fasthttp.StatusTooManyRequests:
		return outcomeSlowDown
	case status == fasthttp.StatusGatewayTimeout:
		return outcomeTimeout
	case status >= 500:
		return outcomeInternal
	}
	return outcomeNonsense
}
