package gateway

import (
	"bytes"
	"encoding/xml"
	"math"
	"strings"

	"github.com/valyala/fasthttp"
)

// s3ErrorDoc is what the gateway reads of an error document, see "Error
// responses" in the Amazon S3 API Reference. All of it may be the origin's
// invention: none of it is for clients, and a code is for classify and the log.
// Absent and dubious fields are empty.
type s3ErrorDoc struct {
	Code      string
	Message   string // may name keys and credentials
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
	Region    string // the bucket's, with redirects and a malformed scope
	// ActualObjectSize is in bytes, with InvalidRange; -1: not given.
	ActualObjectSize int64 `xml:"-"`
}

// Bounds of the fields of an error document, in bytes.
const (
	maxS3Code    = 64
	maxS3ID      = 256
	maxS3Message = 1024
)

// parseS3Error reads an error document, of at most documentLimit bytes. Of what
// is no such document, or not well-formed up to its end, all fields are empty.
// Entities that the document declares are not known to the parser: there is
// nothing that could expand.
func parseS3Error(doc []byte) s3ErrorDoc {
	var d struct {
		XMLName xml.Name `xml:"Error"`
		s3ErrorDoc
		Size string `xml:"ActualObjectSize"`
	}
	err := xml.NewDecoder(bytes.NewReader(doc[:min(len(doc), documentLimit)])).Decode(&d)
	e := d.s3ErrorDoc
	if e.Code = word(e.Code, maxS3Code); err != nil || e.Code == "" {
		return s3ErrorDoc{ActualObjectSize: -1}
	}
	e.Region, e.RequestID, e.HostID = word(e.Region, maxS3Code), word(e.RequestID, maxS3ID), word(e.HostID, maxS3ID)
	e.Message = strings.ToValidUTF8(e.Message[:min(len(e.Message), maxS3Message)], "")
	size, ok := parseDigits([]byte(strings.TrimSpace(d.Size)))
	if !ok || size == math.MaxInt64 {
		size = -1
	}
	e.ActualObjectSize = size
	return e
}

// readRegion takes the bucket's region from a head, where the document has none.
func (e *s3ErrorDoc) readRegion(h *fasthttp.ResponseHeader) {
	if v := h.Peek("X-Amz-Bucket-Region"); e.Region == "" && len(v) > 0 {
		e.Region = word(string(v), maxS3Code)
	}
}

// word returns s without the space around it if it has at most most bytes, all
// of them letters, digits, and what codes, regions and ids have between them;
// else nothing. It keeps the log free of what an origin may invent.
func word(s string, most int) string {
	s = strings.TrimSpace(s)
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '+', c == '/', c == '=':
		default:
			return ""
		}
	}
	if len(s) > most {
		return ""
	}
	return s
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

// The answers to errors of an origin. 502 is for what the operator must mend.
var (
	outcomeNoSuchKey     = &s3Outcome{fasthttp.StatusNotFound, "not_found", "the object does not exist", "no_such_key", 0}
	outcomeNoSuchVersion = &s3Outcome{fasthttp.StatusNotFound, "not_found", "the object has no such version", "no_such_version", 0}
	outcomeDeleted       = &s3Outcome{fasthttp.StatusNotFound, "not_found", "this version says that the object was deleted", "delete_marker", 0}
	outcomeDenied        = &s3Outcome{fasthttp.StatusForbidden, "access_denied", "the origin does not let the gateway read this object", "access_denied", 0}
	outcomeArchived      = &s3Outcome{fasthttp.StatusForbidden, "object_archived", "the object is archived and must be restored before it can be read", "object_archived", 0}
	outcomeFailed        = &s3Outcome{fasthttp.StatusPreconditionFailed, problemFailed.code, problemFailed.message, "precondition_failed", 0}
	outcomeRange         = &s3Outcome{fasthttp.StatusRequestedRangeNotSatisfiable, problemRange.code, problemRange.message, "invalid_range", 0}
	outcomeBadKey        = &s3Outcome{fasthttp.StatusBadRequest, "bad_key", "the origin does not accept this object key or version", "bad_key", 0}

	outcomeNoBucket  = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the gateway's bucket does not exist at the origin", "no_such_bucket", 0}
	outcomeKMS       = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin cannot decrypt the object", "kms", 0}
	outcomeAccessKey = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", 0}
	outcomeToken     = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", 0}
	outcomeAccount   = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "credentials", 0}
	outcomeSignature = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin rejects the gateway's credential", "signature", 0}
	outcomeClock     = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the clocks of the gateway and the origin differ", "clock_skew", 0}
	outcomeRegion    = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the bucket is in another region", "redirect_region", 0}
	outcomeRedirect  = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the bucket is in another region or at another address", "redirect_region", 0}
	outcomeInternal  = &s3Outcome{fasthttp.StatusBadGateway, "bad_gateway", "the origin failed", "internal_error", 0}
	outcomeNonsense  = &s3Outcome{fasthttp.StatusBadGateway, problemProtocol.code, problemProtocol.message, "protocol", 0}
	outcomeSlowDown  = &s3Outcome{fasthttp.StatusServiceUnavailable, "overloaded", "the origin is overloaded; try again soon", "slow_down", 1}
	outcomeTimeout   = &s3Outcome{fasthttp.StatusGatewayTimeout, problemTimeout.code, problemTimeout.message, "timeout", 0}
)

// s3Codes is the one table of error codes: "List of error codes" in the Amazon
// S3 API Reference, and what MinIO (XMinio and others), versitygw (XAdmin) and
// Ceph (UserSuspended) add to it. Those of key management have a prefix, which
// classify knows.
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
	"InvalidObjectState":        outcomeArchived,
	"InvalidArgument":           outcomeBadKey, // a malformed version id
	"InvalidURI":                outcomeBadKey,
	"KeyTooLongError":           outcomeBadKey,
	"XMinioInvalidObjectName":   outcomeBadKey,
	"XMinioInvalidResourceName": outcomeBadKey,

	"NoSuchBucket":       outcomeNoBucket,
	"NoSuchAccessPoint":  outcomeNoBucket,
	"InvalidAccessPoint": outcomeNoBucket,
	"InvalidBucketName":  outcomeNoBucket,

	"InvalidAccessKeyId":                outcomeAccessKey,
	"InvalidSecurity":                   outcomeAccessKey,
	"XAdminUserNotFound":                outcomeAccessKey, // versitygw's word for an unknown key, with 404
	"InvalidToken":                      outcomeToken,
	"InvalidTokenId":                    outcomeToken,
	"ExpiredToken":                      outcomeToken,
	"TokenRefreshRequired":              outcomeToken,
	"AccountProblem":                    outcomeAccount,
	"InvalidPayer":                      outcomeAccount,
	"NotSignedUp":                       outcomeAccount,
	"UserSuspended":                     outcomeAccount,
	"SignatureDoesNotMatch":             outcomeSignature,
	"AuthorizationParametersError":      outcomeSignature,
	"AuthorizationQueryParametersError": outcomeSignature,
	"CredentialsNotSupported":           outcomeSignature,
	"InvalidSignature":                  outcomeSignature,
	"MalformedDate":                     outcomeSignature,
	"MissingSecurityHeader":             outcomeSignature,
	"XAmzContentSHA256Mismatch":         outcomeSignature,
	"RequestTimeTooSkewed":              outcomeClock,
	"RequestExpired":                    outcomeClock,

	// The gateway's header is well-formed, so only its scope can be wrong.
	"AuthorizationHeaderMalformed":       outcomeRegion,
	"IllegalLocationConstraintException": outcomeRegion,
	"IncorrectEndpoint":                  outcomeRegion,
	"InvalidRegion":                      outcomeRegion,
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
	"RequestLimitExceeded":               outcomeSlowDown,
	"BandwidthLimitExceeded":             outcomeSlowDown,
	"XMinioBackendDown":                  outcomeSlowDown,
	"XMinioBucketMetadataNotInitialized": outcomeSlowDown,
	"XMinioIAMNotInitialized":            outcomeSlowDown,
	"XMinioServerNotInitialized":         outcomeSlowDown,
	"InternalError":                      outcomeInternal,
	"RequestTimeout":                     outcomeTimeout, // 400 of S3, 503 of MinIO
}

// classify returns the answer to an error status of an origin and the code of
// its document, empty if it had none. The code decides. An unknown one is judged
// by the status, and never as absence: 404 is what versitygw says of a wrong
// key of the gateway. Nor is any as success.
func classify(status int, code string) *s3Outcome {
	if o := s3Codes[code]; o != nil {
		return o
	}
	// KMS.DisabledException with 400, or MinIO's kms:NotAuthorized with 403.
	if strings.HasPrefix(code, "KMS.") || strings.HasPrefix(code, "kms:") {
		return outcomeKMS
	}
	switch {
	case status == fasthttp.StatusNotFound && code == "":
		return outcomeNoSuchKey
	case status == fasthttp.StatusMethodNotAllowed && code == "":
		return outcomeDeleted // to HEAD, which has no document
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
	case status == fasthttp.StatusGatewayTimeout, status == fasthttp.StatusRequestTimeout:
		return outcomeTimeout
	case status >= 500 && status < 600:
		return outcomeInternal
	}
	return outcomeNonsense
}
