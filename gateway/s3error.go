package gateway

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// s3Outcome is how the gateway answers an error of the origin, and what it
// calls it in logs and metrics.
type s3Outcome struct {
	status     int
	code       string // `error` of the body
	message    string
	reason     string // typed, for log and metric
	fault      s3Fault
	retryAfter int // seconds
}

// s3Fault says what an error is about. That decides who else is asked, and whether the
// error counts against the origin.
type s3Fault uint8

const (
	// faultRequest: what was asked for, which any replica would answer alike. One try;
	// to the breaker it is an answer like any other.
	faultRequest s3Fault = iota
	// faultObject: this object, or what stands between here and it. Another replica may
	// have it; the same one has not, and nothing is said about the other objects.
	faultObject
	// faultSetup: what the operator must mend: credential, region, bucket. Another
	// replica may be set up better.
	faultSetup
	// faultPassing: something that the origin needs for this object, and that may be
	// back soon. Asked again, but nothing is said about the other objects.
	faultPassing
	// faultOrigin: the origin is in trouble. Asked again, and counted by the breaker.
	faultOrigin
)

// passing tells whether asking again may help.
func (o *s3Outcome) passing() bool { return o.fault == faultOrigin || o.fault == faultPassing }

// The answers to errors of an origin. 502 is for what the operator must mend.
var (
	outcomeNoSuchKey     = &s3Outcome{fasthttp.StatusNotFound, "not_found", "the object does not exist", "no_such_key", faultRequest, 0}
	outcomeNoSuchVersion = &s3Outcome{fasthttp.StatusNotFound, "not_found", "the object has no such version", "no_such_version", faultRequest, 0}
	outcomeDeleted       = &s3Outcome{fasthttp.StatusNotFound, "not_found", "this version says that the object was deleted", "delete_marker", faultRequest, 0}
	outcomeDenied        = &s3Outcome{fasthttp.StatusForbidden, "access_denied", "the origin does not let the gateway read this object", "access_denied", faultRequest, 0}
	outcomeArchived      = &s3Outcome{fasthttp.StatusForbidden, "object_archived", "the object is archived and must be restored before it can be read", "object_archived", faultRequest, 0}
	outcomeFailed        = &s3Outcome{fasthttp.StatusPreconditionFailed, problemFailed.code, problemFailed.message, "precondition_failed", faultRequest, 0}
	outcomeRange         = &s3Outcome{fasthttp.StatusRequestedRangeNotSatisfiable, problemRange.code, problemRange.message, "invalid_range", faultRequest, 0}
	outcomeBadKey        = &s3Outcome{fasthttp.StatusBadRequest, "bad_key", "the origin does not accept this object key or version", "bad_key", faultRequest, 0}
	outcomeLongTarget    = &s3Outcome{fasthttp.StatusRequestURITooLong, "target_too_long", "the origin does not accept a key of this length", "target_too_long", faultRequest, 0}
	outcomeLongHead      = &s3Outcome{fasthttp.StatusRequestHeaderFieldsTooLarge, "header_too_large", "the origin does not accept conditions or a range of this length", "header_too_large", faultRequest, 0}
	outcomeUnsupported   = &s3Outcome{fasthttp.StatusNotImplemented, "not_implemented", "the origin does not implement what the request asks for", "not_implemented", faultRequest, 0}

	outcomeKMS      = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin cannot decrypt the object", "kms", faultObject, 0}
	outcomeNonsense = &s3Outcome{fasthttp.StatusBadGateway, problemProtocol.code, problemProtocol.message, "protocol", faultObject, 0}
	outcomeForeign  = &s3Outcome{fasthttp.StatusBadGateway, problemProtocol.code, "the answer does not come from an S3 server", "not_s3", faultObject, 0}

	outcomeNoBucket  = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the gateway's bucket does not exist at the origin", "no_such_bucket", faultSetup, 0}
	outcomeAccessKey = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", faultSetup, 0}
	outcomeToken     = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", faultSetup, 0}
	outcomeAccount   = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin does not serve the gateway's account", "account", faultSetup, 0}
	outcomePayer     = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin does not know whom to charge for the request", "requester_pays", faultSetup, 0}
	outcomeSignature = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "signature", faultSetup, 0}
	outcomeClock     = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the clocks of the gateway and the origin differ", "clock_skew", faultSetup, 0}
	outcomeRegion    = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the bucket is in another region", "redirect_region", faultSetup, 0}
	outcomeRedirect  = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the bucket is in another region or at another address", "redirect_region", faultSetup, 0}

	outcomeKMSDown = &s3Outcome{fasthttp.StatusServiceUnavailable, "overloaded", "the origin cannot decrypt the object at the moment; try again soon", "kms_unavailable", faultPassing, 1}

	outcomeInternal = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin failed", "internal_error", faultOrigin, 0}
	outcomeSlowDown = &s3Outcome{fasthttp.StatusServiceUnavailable, "overloaded", "the origin is overloaded; try again soon", "slow_down", faultOrigin, 1}
	outcomeTimeout  = &s3Outcome{fasthttp.StatusGatewayTimeout, problemTimeout.code, problemTimeout.message, "timeout", faultOrigin, 0}
)

// s3Codes is the one table of error codes that a GET or HEAD can meet: "List of error
// codes" in the Amazon S3 API Reference, and what other servers add to it, which is said
// beside each. Codes of key management that are not here are known to classify by their
// prefix.
//
// InvalidRequest is not in it: to a read it means that the object wants a key
// of the customer (SSE-C), which is neither the client's fault nor its to mend.
var s3Codes = map[string]*s3Outcome{
	"NoSuchKey":                 outcomeNoSuchKey,
	"NoSuchVersion":             outcomeNoSuchVersion,
	"MethodNotAllowed":          outcomeDeleted, // a delete marker, asked for by its version
	"NoSuchPart":                outcomeRange,
	"InvalidPartNumber":         outcomeRange,
	"InvalidRange":              outcomeRange,
	"PreconditionFailed":        outcomeFailed,
	"AccessDenied":              outcomeDenied,
	"AllAccessDisabled":         outcomeDenied,
	"UnauthorizedAccess":        outcomeDenied, // regions in China
	"UnauthorizedAccessError":   outcomeDenied, // the same, as documented
	"SecurityPolicyViolated":    outcomeDenied, // GCS
	"AccessForbidden":           outcomeDenied, // versitygw
	"InvalidObjectState":        outcomeArchived,
	"InvalidArgument":           outcomeBadKey, // a malformed version id
	"InvalidURI":                outcomeBadKey,
	"KeyTooLongError":           outcomeBadKey,
	"KeyTooLong":                outcomeBadKey, // Ceph, StorageGRID
	"InvalidObjectName":         outcomeBadKey, // Ceph, GCS
	"InvalidVersionId":          outcomeBadKey, // Ceph
	"XMinioInvalidObjectName":   outcomeBadKey,
	"XMinioInvalidResourceName": outcomeBadKey,

	"RequestHeaderSectionTooLarge": outcomeLongHead,
	"MaxMessageLengthExceeded":     outcomeLongHead,
	"NotImplemented":               outcomeUnsupported,

	"NoSuchBucket":                 outcomeNoBucket,
	"NoSuchAccessPoint":            outcomeNoBucket,
	"InvalidAccessPoint":           outcomeNoBucket,
	"InvalidAccessPointAliasError": outcomeNoBucket,
	"InvalidBucketName":            outcomeNoBucket,

	"InvalidAccessKeyId":                outcomeAccessKey,
	"InvalidSecurity":                   outcomeAccessKey,
	"InvalidClientTokenId":              outcomeAccessKey,
	"Unauthorized":                      outcomeAccessKey, // R2, with 401
	"AuthenticationRequired":            outcomeAccessKey, // GCS, with 401
	"NoSuchUser":                        outcomeAccessKey, // Ceph, with 404
	"XAdminUserNotFound":                outcomeAccessKey, // versitygw's word for an unknown key, with 404
	"XAdminAccessDenied":                outcomeAccessKey, // versitygw
	"InvalidToken":                      outcomeToken,
	"InvalidTokenId":                    outcomeToken,
	"ExpiredToken":                      outcomeToken,
	"TokenRefreshRequired":              outcomeToken,
	"AccountProblem":                    outcomeAccount,
	"InvalidPayer":                      outcomeAccount,
	"NotSignedUp":                       outcomeAccount,
	"NotEntitled":                       outcomeAccount, // R2
	"QuotaExceeded":                     outcomeAccount, // Ceph
	"UserSuspended":                     outcomeAccount, // Ceph
	"UserProjectAccessDenied":           outcomeAccount, // GCS
	"UserProjectAccountProblem":         outcomeAccount, // GCS
	"UserProjectInvalid":                outcomePayer,   // GCS
	"UserProjectMissing":                outcomePayer,   // GCS
	"SignatureDoesNotMatch":             outcomeSignature,
	"AuthorizationParametersError":      outcomeSignature,
	"AuthorizationQueryParametersError": outcomeSignature,
	"CredentialsNotSupported":           outcomeSignature,
	"InvalidSignature":                  outcomeSignature,
	"MalformedDate":                     outcomeSignature,
	"MissingAuthenticationToken":        outcomeSignature,
	"MissingSecurityHeader":             outcomeSignature,
	"UnsupportedSignature":              outcomeSignature,
	"XAmzContentSHA256Mismatch":         outcomeSignature,
	"RequestTimeTooSkewed":              outcomeClock,
	"RequestExpired":                    outcomeClock,
	"ExpiredRequest":                    outcomeClock, // R2

	// The gateway's header is well-formed, so only its scope can be wrong.
	"AuthorizationHeaderMalformed":       outcomeRegion,
	"IllegalLocationConstraintException": outcomeRegion,
	"IncorrectEndpoint":                  outcomeRegion,
	"InvalidRegion":                      outcomeRegion,
	"InvalidRegionName":                  outcomeRegion, // R2
	"EndpointNotFound":                   outcomeRegion,
	"PermanentRedirect":                  outcomeRedirect,
	"PermanentRedirectControlError":      outcomeRedirect,
	"Redirect":                           outcomeRedirect,
	"TemporaryRedirect":                  outcomeRedirect,

	"SlowDown":                           outcomeSlowDown,
	"SlowDownRead":                       outcomeSlowDown,
	"ServiceUnavailable":                 outcomeSlowDown,
	"Busy":                               outcomeSlowDown,
	"ServerBusy":                         outcomeSlowDown,
	"Throttling":                         outcomeSlowDown,
	"ThrottlingException":                outcomeSlowDown,
	"TooManyRequests":                    outcomeSlowDown,
	"TooMuchConcurrency":                 outcomeSlowDown, // R2
	"ErrTooManyRequest":                  outcomeSlowDown, // SeaweedFS
	"ErrRequestBytesExceed":              outcomeSlowDown, // SeaweedFS
	"RateLimitExceeded":                  outcomeSlowDown, // GCS
	"RequestLimitExceeded":               outcomeSlowDown,
	"BandwidthLimitExceeded":             outcomeSlowDown,
	"XMinioBackendDown":                  outcomeSlowDown,
	"XMinioBucketMetadataNotInitialized": outcomeSlowDown,
	"XMinioIAMNotInitialized":            outcomeSlowDown,
	"XMinioServerNotInitialized":         outcomeSlowDown,
	"InternalError":                      outcomeInternal,
	"RequestTimeout":                     outcomeTimeout, // 400 of S3, 503 of MinIO

	// "Errors" of Decrypt in the AWS Key Management Service API Reference. What is not
	// here has to be mended.
	"KMS.ThrottlingException":        outcomeSlowDown,
	"KMS.LimitExceededException":     outcomeSlowDown,
	"KMS.DependencyTimeoutException": outcomeKMSDown,
	"KMS.InternalException":          outcomeKMSDown,
	"KMS.KMSInternalException":       outcomeKMSDown,
	"KMS.KeyUnavailableException":    outcomeKMSDown,
}

// outcome returns the answer to an error status that came with e. A document of S3
// decides by its code. What is no document of S3 says nothing about the object: its
// absence, and who may read it, only S3 knows. But a server or proxy on the way may well
// say that it is overloaded or out of order, or cannot take the request as it is.
func (e *s3ErrorDoc) outcome(status int) *s3Outcome {
	o := classify(status, e.Code)
	if !e.Foreign || o.fault == faultOrigin {
		return o
	}
	switch o {
	case outcomeRedirect, outcomeLongTarget, outcomeLongHead, outcomeUnsupported, outcomeFailed, outcomeRange:
		return o
	}
	return outcomeForeign
}

// kmsPrefixes are those of codes of key management: KMS.DisabledException of S3,
// kms:NotAuthorized of MinIO, CloudKmsDisabledKey of GCS.
var kmsPrefixes = [...]string{"KMS.", "kms:", "CloudKms"}

// classify returns the answer to an error status of an origin and the code of
// its document, empty if it had none. The code decides. An unknown one is judged
// by the status, and never as absence: 404 is what versitygw says of a wrong
// key of the gateway. Nor is any as success.
func classify(status int, code string) *s3Outcome {
	if o := s3Codes[code]; o != nil {
		return o
	}
	for _, prefix := range kmsPrefixes {
		if strings.HasPrefix(code, prefix) {
			return outcomeKMS
		}
	}
	switch {
	case status == fasthttp.StatusNotFound && code == "":
		return outcomeNoSuchKey
	case status == fasthttp.StatusMethodNotAllowed && code == "":
		return outcomeDeleted // to HEAD, which has no document
	case status == fasthttp.StatusUnauthorized:
		return outcomeAccessKey
	case status == fasthttp.StatusForbidden:
		return outcomeDenied
	case status == fasthttp.StatusPreconditionFailed:
		return outcomeFailed
	case status == fasthttp.StatusRequestURITooLong:
		return outcomeLongTarget
	case status == fasthttp.StatusRequestedRangeNotSatisfiable:
		return outcomeRange
	case status == fasthttp.StatusRequestHeaderFieldsTooLarge:
		return outcomeLongHead
	case status >= 300 && status < 400:
		return outcomeRedirect
	case status == fasthttp.StatusNotImplemented:
		return outcomeUnsupported
	case status == fasthttp.StatusServiceUnavailable, status == fasthttp.StatusTooManyRequests:
		return outcomeSlowDown
	case status == fasthttp.StatusGatewayTimeout, status == fasthttp.StatusRequestTimeout:
		return outcomeTimeout
	case status >= 500 && status < 600:
		return outcomeInternal
	}
	return outcomeNonsense
}

// problem returns the answer to an error of the origin.
func (o *s3Outcome) problem() *problem {
	return &problem{status: o.status, code: o.code, message: o.message, reason: o.reason, retryAfter: o.retryAfter}
}
