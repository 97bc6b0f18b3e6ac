// Package s3error says what an error of an S3 server means: one table of codes, and one
// reader of error documents.
package s3error

import (
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/problem"
)

// Kind is the meaning of an error of an origin: the answer that clients get, with its
// reason for logs and metrics, and whom it is held against. Kinds do not change.
type Kind struct {
	problem.Problem
	Fault Fault
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
func (k *Kind) Passing() bool { return k.Fault == FaultOrigin || k.Fault == faultPassing }

// newKind returns a kind; with status 503, clients are asked to come back soon.
func newKind(f Fault, status int, code, reason, message string) *Kind {
	k := &Kind{problem.Problem{Status: status, Code: code, Reason: reason, Message: message}, f}
	if status == fasthttp.StatusServiceUnavailable {
		k.RetryAfter = 1
	}
	return k
}

// The kinds. Status 502 is for what the operator must mend.
var (
	NoSuchKey          = newKind(FaultRequest, fasthttp.StatusNotFound, "not_found", "no_such_key", "the object does not exist")
	NoSuchVersion      = newKind(FaultRequest, fasthttp.StatusNotFound, "not_found", "no_such_version", "the object has no such version")
	Deleted            = newKind(FaultRequest, fasthttp.StatusNotFound, "not_found", "delete_marker", "this version says that the object was deleted")
	Denied             = newKind(FaultRequest, fasthttp.StatusForbidden, "access_denied", "access_denied", "the origin does not let the gateway read this object")
	Archived           = newKind(FaultRequest, fasthttp.StatusForbidden, "object_archived", "object_archived", "the object is archived and must be restored before it can be read")
	preconditionFailed = newKind(FaultRequest, problem.PreconditionFailed.Status, problem.PreconditionFailed.Code, "precondition_failed", problem.PreconditionFailed.Message)
	invalidRange       = newKind(FaultRequest, problem.Range.Status, problem.Range.Code, "invalid_range", problem.Range.Message)
	badKey             = newKind(FaultRequest, fasthttp.StatusBadRequest, "bad_key", "bad_key", "the origin does not accept this object key or version")
	longTarget         = newKind(FaultRequest, fasthttp.StatusRequestURITooLong, "target_too_long", "target_too_long", "the origin does not accept a key of this length")
	longHead           = newKind(FaultRequest, fasthttp.StatusRequestHeaderFieldsTooLarge, "header_too_large", "header_too_large", "the origin does not accept conditions or a range of this length")
	notImplemented     = newKind(FaultRequest, fasthttp.StatusNotImplemented, "not_implemented", "not_implemented", "the origin does not implement what the request asks for")

	KMS      = newKind(FaultObject, fasthttp.StatusBadGateway, "bad_gateway", "kms", "the origin cannot decrypt the object")
	Protocol = newKind(FaultObject, problem.Protocol.Status, problem.Protocol.Code, "protocol", problem.Protocol.Message)
	Foreign  = newKind(FaultObject, fasthttp.StatusBadGateway, "bad_gateway", "not_s3", "the answer does not come from an S3 server")

	noSuchBucket = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "no_such_bucket", "the gateway's bucket does not exist at the origin")
	AccessKey    = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "credentials", "the origin rejects the gateway's credential")
	Token        = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "credentials", "the origin rejects the gateway's credential")
	account      = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "account", "the origin does not serve the gateway's account")
	payer        = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "requester_pays", "the origin does not know whom to charge for the request")
	signature    = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "signature", "the origin rejects the gateway's credential")
	Clock        = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "clock_skew", "the clocks of the gateway and the origin differ")
	region       = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "redirect_region", "the bucket is in another region")
	redirect     = newKind(FaultSetup, fasthttp.StatusBadGateway, "bad_gateway", "redirect_region", "the bucket is in another region or at another address")

	KMSDown = newKind(faultPassing, fasthttp.StatusServiceUnavailable, "overloaded", "kms_unavailable", "the origin cannot decrypt the object at the moment; try again soon")

	Internal = newKind(FaultOrigin, fasthttp.StatusBadGateway, "bad_gateway", "internal_error", "the origin failed")
	slowDown = newKind(FaultOrigin, fasthttp.StatusServiceUnavailable, "overloaded", "slow_down", "the origin is overloaded; try again soon")
	timeout  = newKind(FaultOrigin, problem.Timeout.Status, problem.Timeout.Code, "timeout", problem.Timeout.Message)
)

// Codes is the one table of error codes that a GET or HEAD can meet: "List of error
// codes" in the Amazon S3 API Reference, and what other servers add to it. A comment names
// those servers, in the order of their codes where they are several.
//
// InvalidRequest is not in it: to a read it means that the object wants a key
// of the customer (SSE-C), which is neither the client's fault nor its to mend.
var Codes = byCode([]kindCodes{
	{NoSuchKey, "NoSuchKey"},
	{NoSuchVersion, "NoSuchVersion"},
	{Deleted, "MethodNotAllowed"}, // a delete marker, asked for by its version
	{invalidRange, "NoSuchPart InvalidPartNumber InvalidRange"},
	{preconditionFailed, "PreconditionFailed"},
	{Denied, "AccessDenied AllAccessDisabled"},
	{Denied, "UnauthorizedAccess UnauthorizedAccessError"}, // regions in China; the latter as documented
	{Denied, "SecurityPolicyViolated AccessForbidden"},     // GCS, versitygw
	{Archived, "InvalidObjectState"},
	{badKey, "InvalidArgument InvalidURI KeyTooLongError"}, // the first: a malformed version id
	{badKey, "KeyTooLong InvalidObjectName InvalidVersionId XMinioInvalidObjectName XMinioInvalidResourceName"}, // Ceph and StorageGRID, Ceph and GCS, Ceph, MinIO, MinIO
	{longHead, "RequestHeaderSectionTooLarge MaxMessageLengthExceeded"},
	{notImplemented, "NotImplemented"},

	{noSuchBucket, "NoSuchBucket NoSuchAccessPoint InvalidAccessPoint InvalidAccessPointAliasError InvalidBucketName"},
	{AccessKey, "InvalidAccessKeyId InvalidSecurity InvalidClientTokenId"},
	{AccessKey, "Unauthorized AuthenticationRequired"},              // R2, GCS; with 401
	{AccessKey, "NoSuchUser XAdminUserNotFound XAdminAccessDenied"}, // Ceph, versitygw, versitygw; unknown keys with 404
	{Token, "InvalidToken InvalidTokenId ExpiredToken TokenRefreshRequired"},
	{account, "AccountProblem InvalidPayer NotSignedUp"},
	{account, "NotEntitled QuotaExceeded UserSuspended UserProjectAccessDenied UserProjectAccountProblem"}, // R2, Ceph, Ceph, GCS, GCS
	{payer, "UserProjectInvalid UserProjectMissing"},                                                       // GCS
	{signature, "SignatureDoesNotMatch AuthorizationParametersError AuthorizationQueryParametersError CredentialsNotSupported InvalidSignature"},
	{signature, "MalformedDate MissingAuthenticationToken MissingSecurityHeader UnsupportedSignature XAmzContentSHA256Mismatch"},
	{Clock, "RequestTimeTooSkewed RequestExpired ExpiredRequest"},                                                     // the last: R2
	{region, "AuthorizationHeaderMalformed"},                                                                          // the gateway's header is well-formed, so only its scope can be wrong
	{region, "IllegalLocationConstraintException IncorrectEndpoint InvalidRegion EndpointNotFound InvalidRegionName"}, // the last: R2
	{redirect, "PermanentRedirect PermanentRedirectControlError Redirect TemporaryRedirect"},

	{slowDown, "SlowDown SlowDownRead ServiceUnavailable Busy ServerBusy Throttling ThrottlingException TooManyRequests RequestLimitExceeded BandwidthLimitExceeded"},
	{slowDown, "XMinioBackendDown XMinioBucketMetadataNotInitialized XMinioIAMNotInitialized XMinioServerNotInitialized"},
	{slowDown, "TooMuchConcurrency ErrTooManyRequest ErrRequestBytesExceed RateLimitExceeded"}, // R2, SeaweedFS, SeaweedFS, GCS
	{Internal, "InternalError"},
	{timeout, "RequestTimeout"}, // 400 of S3, 503 of MinIO

	// "Errors" of Decrypt in the AWS Key Management Service API Reference. What is not
	// here has to be mended; Classify knows it by its prefix.
	{slowDown, "KMS.ThrottlingException KMS.LimitExceededException"},
	{KMSDown, "KMS.DependencyTimeoutException KMS.InternalException KMS.KMSInternalException KMS.KeyUnavailableException"},
})

// kindCodes are codes, separated by spaces, that mean the same.
type kindCodes struct {
	kind  *Kind
	codes string
}

func byCode(table []kindCodes) map[string]*Kind {
	kinds := make(map[string]*Kind)
	for _, row := range table {
		for code := range strings.FieldsSeq(row.codes) {
			kinds[code] = row.kind
		}
	}
	return kinds
}

// byStatus has the kinds of errors with an unknown code or none.
var byStatus = map[int]*Kind{
	fasthttp.StatusUnauthorized:                 AccessKey,
	fasthttp.StatusForbidden:                    Denied,
	fasthttp.StatusRequestTimeout:               timeout,
	fasthttp.StatusPreconditionFailed:           preconditionFailed,
	fasthttp.StatusRequestURITooLong:            longTarget,
	fasthttp.StatusRequestedRangeNotSatisfiable: invalidRange,
	fasthttp.StatusTooManyRequests:              slowDown,
	fasthttp.StatusRequestHeaderFieldsTooLarge:  longHead,
	fasthttp.StatusNotImplemented:               notImplemented,
	fasthttp.StatusServiceUnavailable:           slowDown,
	fasthttp.StatusGatewayTimeout:               timeout,
}

// Classify returns the kind of an error of an origin, by its status and the code of its
// document, empty if it had none. The code decides. An unknown one is judged
// by the status, and never as absence: 404 is what versitygw says of a wrong
// key of the gateway. Nor is any as success.
func Classify(status int, code string) *Kind {
	switch kind := Codes[code]; {
	case kind != nil:
		return kind
	case strings.HasPrefix(code, "KMS."), strings.HasPrefix(code, "kms:"), strings.HasPrefix(code, "CloudKms"): // AWS, MinIO, GCS
		return KMS
	case status == fasthttp.StatusNotFound && code == "":
		return NoSuchKey
	case status == fasthttp.StatusMethodNotAllowed && code == "":
		return Deleted // to HEAD, which has no document
	case byStatus[status] != nil:
		return byStatus[status]
	case status/100 == 3:
		return redirect
	case status/100 == 5:
		return Internal
	}
	return Protocol
}

// Kind returns the kind of an error whose status came with e. A document of S3
// decides by its code. What is no document of S3 says nothing about the object: its
// absence, and who may read it, only S3 knows. But a server or proxy on the way may well
// say that it is overloaded or out of order, or cannot take the request as it is.
func (e *Document) Kind(status int) *Kind {
	kind := Classify(status, e.Code)
	ofAnyServer := []*Kind{redirect, longTarget, longHead, notImplemented, preconditionFailed, invalidRange}
	if e.Foreign && kind.Fault != FaultOrigin && !slices.Contains(ofAnyServer, kind) {
		return Foreign
	}
	return kind
}
