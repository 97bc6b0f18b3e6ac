// Package s3error says what an error of an S3 server means: one table of codes, and one
// reader of error documents.
package s3error

import (
	"strings"
	"yatagarasu/gateway/problem"

	"github.com/valyala/fasthttp"
)

// Kind is how the gateway answers an error of the origin, and what it
// calls it in logs and metrics.
type Kind struct {
	Status     int
	code       string // `error` of the body
	message    string
	Reason     string // typed, for log and metric
	Fault      Fault
	retryAfter int // seconds
}

// Fault says what an error is about. That decides who else is asked, and whether the
// error counts against the origin.
type Fault uint8

const (
	// FaultRequest: what was asked for, which any replica would answer alike. One try;
	// to the breaker it is an answer like any other.
	FaultRequest Fault = iota
	// FaultObject: this object, or what stands between here and it. Another replica may
	// have it; the same one has not, and nothing is said about the other objects.
	FaultObject
	// FaultSetup: what the operator must mend: credential, region, bucket. Another
	// replica may be set up better.
	FaultSetup
	// faultPassing: something that the origin needs for this object, and that may be
	// back soon. Asked again, but nothing is said about the other objects.
	faultPassing
	// FaultOrigin: the origin is in trouble. Asked again, and counted by the breaker.
	FaultOrigin
)

// Passing tells whether asking again may help.
func (o *Kind) Passing() bool { return o.Fault == FaultOrigin || o.Fault == faultPassing }

// The answers to errors of an origin. 502 is for what the operator must mend.
var (
	NoSuchKey     = &Kind{fasthttp.StatusNotFound, "not_found", "the object does not exist", "no_such_key", FaultRequest, 0}
	NoSuchVersion = &Kind{fasthttp.StatusNotFound, "not_found", "the object has no such version", "no_such_version", FaultRequest, 0}
	Deleted       = &Kind{fasthttp.StatusNotFound, "not_found", "this version says that the object was deleted", "delete_marker", FaultRequest, 0}
	Denied        = &Kind{fasthttp.StatusForbidden, "access_denied", "the origin does not let the gateway read this object", "access_denied", FaultRequest, 0}
	Archived      = &Kind{fasthttp.StatusForbidden, "object_archived", "the object is archived and must be restored before it can be read", "object_archived", FaultRequest, 0}
	Failed        = &Kind{fasthttp.StatusPreconditionFailed, problem.PreconditionFailed.Code, problem.PreconditionFailed.Message, "precondition_failed", FaultRequest, 0}
	Range         = &Kind{fasthttp.StatusRequestedRangeNotSatisfiable, problem.Range.Code, problem.Range.Message, "invalid_range", FaultRequest, 0}
	BadKey        = &Kind{fasthttp.StatusBadRequest, "bad_key", "the origin does not accept this object key or version", "bad_key", FaultRequest, 0}
	LongTarget    = &Kind{fasthttp.StatusRequestURITooLong, "target_too_long", "the origin does not accept a key of this length", "target_too_long", FaultRequest, 0}
	LongHead      = &Kind{fasthttp.StatusRequestHeaderFieldsTooLarge, "header_too_large", "the origin does not accept conditions or a range of this length", "header_too_large", FaultRequest, 0}
	Unsupported   = &Kind{fasthttp.StatusNotImplemented, "not_implemented", "the origin does not implement what the request asks for", "not_implemented", FaultRequest, 0}

	KMS      = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the origin cannot decrypt the object", "kms", FaultObject, 0}
	Nonsense = &Kind{fasthttp.StatusBadGateway, problem.Protocol.Code, problem.Protocol.Message, "protocol", FaultObject, 0}
	Foreign  = &Kind{fasthttp.StatusBadGateway, problem.Protocol.Code, "the answer does not come from an S3 server", "not_s3", FaultObject, 0}

	NoBucket  = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the gateway's bucket does not exist at the origin", "no_such_bucket", FaultSetup, 0}
	AccessKey = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", FaultSetup, 0}
	Token     = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", FaultSetup, 0}
	Account   = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the origin does not serve the gateway's account", "account", FaultSetup, 0}
	Payer     = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the origin does not know whom to charge for the request", "requester_pays", FaultSetup, 0}
	Signature = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "signature", FaultSetup, 0}
	Clock     = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the clocks of the gateway and the origin differ", "clock_skew", FaultSetup, 0}
	Region    = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the bucket is in another region", "redirect_region", FaultSetup, 0}
	Redirect  = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the bucket is in another region or at another address", "redirect_region", FaultSetup, 0}

	KMSDown = &Kind{fasthttp.StatusServiceUnavailable, "overloaded", "the origin cannot decrypt the object at the moment; try again soon", "kms_unavailable", faultPassing, 1}

	Internal = &Kind{fasthttp.StatusBadGateway, "bad_gateway", "the origin failed", "internal_error", FaultOrigin, 0}
	SlowDown = &Kind{fasthttp.StatusServiceUnavailable, "overloaded", "the origin is overloaded; try again soon", "slow_down", FaultOrigin, 1}
	Timeout  = &Kind{fasthttp.StatusGatewayTimeout, problem.Timeout.Code, problem.Timeout.Message, "timeout", FaultOrigin, 0}
)

// Codes is the one table of error codes that a GET or HEAD can meet: "List of error
// codes" in the Amazon S3 API Reference, and what other servers add to it, which is said
// beside each. Codes of key management that are not here are known to classify by their
// prefix.
//
// InvalidRequest is not in it: to a read it means that the object wants a key
// of the customer (SSE-C), which is neither the client's fault nor its to mend.
var Codes = map[string]*Kind{
	"NoSuchKey":                 NoSuchKey,
	"NoSuchVersion":             NoSuchVersion,
	"MethodNotAllowed":          Deleted, // a delete marker, asked for by its version
	"NoSuchPart":                Range,
	"InvalidPartNumber":         Range,
	"InvalidRange":              Range,
	"PreconditionFailed":        Failed,
	"AccessDenied":              Denied,
	"AllAccessDisabled":         Denied,
	"UnauthorizedAccess":        Denied, // regions in China
	"UnauthorizedAccessError":   Denied, // the same, as documented
	"SecurityPolicyViolated":    Denied, // GCS
	"AccessForbidden":           Denied, // versitygw
	"InvalidObjectState":        Archived,
	"InvalidArgument":           BadKey, // a malformed version id
	"InvalidURI":                BadKey,
	"KeyTooLongError":           BadKey,
	"KeyTooLong":                BadKey, // Ceph, StorageGRID
	"InvalidObjectName":         BadKey, // Ceph, GCS
	"InvalidVersionId":          BadKey, // Ceph
	"XMinioInvalidObjectName":   BadKey,
	"XMinioInvalidResourceName": BadKey,

	"RequestHeaderSectionTooLarge": LongHead,
	"MaxMessageLengthExceeded":     LongHead,
	"NotImplemented":               Unsupported,

	"NoSuchBucket":                 NoBucket,
	"NoSuchAccessPoint":            NoBucket,
	"InvalidAccessPoint":           NoBucket,
	"InvalidAccessPointAliasError": NoBucket,
	"InvalidBucketName":            NoBucket,

	"InvalidAccessKeyId":                AccessKey,
	"InvalidSecurity":                   AccessKey,
	"InvalidClientTokenId":              AccessKey,
	"Unauthorized":                      AccessKey, // R2, with 401
	"AuthenticationRequired":            AccessKey, // GCS, with 401
	"NoSuchUser":                        AccessKey, // Ceph, with 404
	"XAdminUserNotFound":                AccessKey, // versitygw's word for an unknown key, with 404
	"XAdminAccessDenied":                AccessKey, // versitygw
	"InvalidToken":                      Token,
	"InvalidTokenId":                    Token,
	"ExpiredToken":                      Token,
	"TokenRefreshRequired":              Token,
	"AccountProblem":                    Account,
	"InvalidPayer":                      Account,
	"NotSignedUp":                       Account,
	"NotEntitled":                       Account, // R2
	"QuotaExceeded":                     Account, // Ceph
	"UserSuspended":                     Account, // Ceph
	"UserProjectAccessDenied":           Account, // GCS
	"UserProjectAccountProblem":         Account, // GCS
	"UserProjectInvalid":                Payer,   // GCS
	"UserProjectMissing":                Payer,   // GCS
	"SignatureDoesNotMatch":             Signature,
	"AuthorizationParametersError":      Signature,
	"AuthorizationQueryParametersError": Signature,
	"CredentialsNotSupported":           Signature,
	"InvalidSignature":                  Signature,
	"MalformedDate":                     Signature,
	"MissingAuthenticationToken":        Signature,
	"MissingSecurityHeader":             Signature,
	"UnsupportedSignature":              Signature,
	"XAmzContentSHA256Mismatch":         Signature,
	"RequestTimeTooSkewed":              Clock,
	"RequestExpired":                    Clock,
	"ExpiredRequest":                    Clock, // R2

	// The gateway's header is well-formed, so only its scope can be wrong.
	"AuthorizationHeaderMalformed":       Region,
	"IllegalLocationConstraintException": Region,
	"IncorrectEndpoint":                  Region,
	"InvalidRegion":                      Region,
	"InvalidRegionName":                  Region, // R2
	"EndpointNotFound":                   Region,
	"PermanentRedirect":                  Redirect,
	"PermanentRedirectControlError":      Redirect,
	"Redirect":                           Redirect,
	"TemporaryRedirect":                  Redirect,

	"SlowDown":                           SlowDown,
	"SlowDownRead":                       SlowDown,
	"ServiceUnavailable":                 SlowDown,
	"Busy":                               SlowDown,
	"ServerBusy":                         SlowDown,
	"Throttling":                         SlowDown,
	"ThrottlingException":                SlowDown,
	"TooManyRequests":                    SlowDown,
	"TooMuchConcurrency":                 SlowDown, // R2
	"ErrTooManyRequest":                  SlowDown, // SeaweedFS
	"ErrRequestBytesExceed":              SlowDown, // SeaweedFS
	"RateLimitExceeded":                  SlowDown, // GCS
	"RequestLimitExceeded":               SlowDown,
	"BandwidthLimitExceeded":             SlowDown,
	"XMinioBackendDown":                  SlowDown,
	"XMinioBucketMetadataNotInitialized": SlowDown,
	"XMinioIAMNotInitialized":            SlowDown,
	"XMinioServerNotInitialized":         SlowDown,
	"InternalError":                      Internal,
	"RequestTimeout":                     Timeout, // 400 of S3, 503 of MinIO

	// "Errors" of Decrypt in the AWS Key Management Service API Reference. What is not
	// here has to be mended.
	"KMS.ThrottlingException":        SlowDown,
	"KMS.LimitExceededException":     SlowDown,
	"KMS.DependencyTimeoutException": KMSDown,
	"KMS.InternalException":          KMSDown,
	"KMS.KMSInternalException":       KMSDown,
	"KMS.KeyUnavailableException":    KMSDown,
}

// Kind returns the answer to an error status that came with e. A document of S3
// decides by its code. What is no document of S3 says nothing about the object: its
// absence, and who may read it, only S3 knows. But a server or proxy on the way may well
// say that it is overloaded or out of order, or cannot take the request as it is.
func (e *Document) Kind(status int) *Kind {
	o := Classify(status, e.Code)
	if !e.Foreign || o.Fault == FaultOrigin {
		return o
	}
	switch o {
	case Redirect, LongTarget, LongHead, Unsupported, Failed, Range:
		return o
	}
	return Foreign
}

// kmsPrefixes are those of codes of key management: KMS.DisabledException of S3,
// kms:NotAuthorized of MinIO, CloudKmsDisabledKey of GCS.
var kmsPrefixes = [...]string{"KMS.", "kms:", "CloudKms"}

// Classify returns the answer to an error status of an origin and the code of
// its document, empty if it had none. The code decides. An unknown one is judged
// by the status, and never as absence: 404 is what versitygw says of a wrong
// key of the gateway. Nor is any as success.
func Classify(status int, code string) *Kind {
	if o := Codes[code]; o != nil {
		return o
	}
	for _, prefix := range kmsPrefixes {
		if strings.HasPrefix(code, prefix) {
			return KMS
		}
	}
	switch {
	case status == fasthttp.StatusNotFound && code == "":
		return NoSuchKey
	case status == fasthttp.StatusMethodNotAllowed && code == "":
		return Deleted // to HEAD, which has no document
	case status == fasthttp.StatusUnauthorized:
		return AccessKey
	case status == fasthttp.StatusForbidden:
		return Denied
	case status == fasthttp.StatusPreconditionFailed:
		return Failed
	case status == fasthttp.StatusRequestURITooLong:
		return LongTarget
	case status == fasthttp.StatusRequestedRangeNotSatisfiable:
		return Range
	case status == fasthttp.StatusRequestHeaderFieldsTooLarge:
		return LongHead
	case status >= 300 && status < 400:
		return Redirect
	case status == fasthttp.StatusNotImplemented:
		return Unsupported
	case status == fasthttp.StatusServiceUnavailable, status == fasthttp.StatusTooManyRequests:
		return SlowDown
	case status == fasthttp.StatusGatewayTimeout, status == fasthttp.StatusRequestTimeout:
		return Timeout
	case status >= 500 && status < 600:
		return Internal
	}
	return Nonsense
}

// Problem returns the answer to an error of the origin.
func (o *Kind) Problem() *problem.Problem {
	return &problem.Problem{Status: o.Status, Code: o.code, Message: o.message, Reason: o.Reason, RetryAfter: o.retryAfter}
}
