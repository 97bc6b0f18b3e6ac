package s3error

import (
	"regexp"
	"strings"
	"testing"
)

func TestParseS3Error(t *testing.T) {
	const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	none := Document{ActualObjectSize: -1}
	foreign := Document{ActualObjectSize: -1, Foreign: true}
	noSuchKey := Document{Code: "NoSuchKey", ActualObjectSize: -1}
	for _, tc := range []struct {
		name, doc string
		want      Document
	}{
		{"S3", head + `<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>a/b</Key><RequestId>4442587FB7D0A2F9</RequestId><HostId>Uuag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcfTWAtRPfTaOFg==</HostId></Error>`, noSuchKey},
		{"range", `<Error><Code>InvalidRange</Code><RangeRequested>bytes=99-</RangeRequested><ActualObjectSize>10</ActualObjectSize></Error>`,
			Document{Code: "InvalidRange", ActualObjectSize: 10}},
		{"region", `<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>`,
			Document{Code: "AuthorizationHeaderMalformed", Region: "eu-west-1", ActualObjectSize: -1}},
		{"MinIO's code of key management", `<Error><Code>kms:KeyNotFound</Code></Error>`, Document{Code: "kms:KeyNotFound", ActualObjectSize: -1}},
		{"namespace, space and unknown elements", `<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Detail><Code>Inner</Code></Detail> <Code>
			KMS.DisabledException
		</Code><ActualObjectSize> 7 </ActualObjectSize></Error>`,
			Document{Code: "KMS.DisabledException", ActualObjectSize: 7}},
		{"fields that are none are left out", `<Error><Code>X</Code><Region>eu west</Region></Error>`, Document{Code: "X", ActualObjectSize: -1}},
		{"region too long", `<Error><Code>X</Code><Region>` + strings.Repeat("a", 65) + `</Region></Error>`, Document{Code: "X", ActualObjectSize: -1}},
		{"a long message", `<Error><Code>X</Code><Message>a` + strings.Repeat("é", 600) + `</Message></Error>`, Document{Code: "X", ActualObjectSize: -1}},
		{"size below 0", `<Error><Code>X</Code><ActualObjectSize>-5</ActualObjectSize></Error>`, Document{Code: "X", ActualObjectSize: -1}},
		{"size beyond int64", `<Error><Code>X</Code><ActualObjectSize>99999999999999999999</ActualObjectSize></Error>`, Document{Code: "X", ActualObjectSize: -1}},
		{"tail behind the document", `<Error><Code>X</Code></Error><Error`, Document{Code: "X", ActualObjectSize: -1}},

		{"nothing", "", none},
		{"space", " \r\n", none},
		{"text", "Service Unavailable", foreign},
		{"HTML", "<html><body><Error><Code>NoSuchKey</Code></Error></body></html>", foreign},
		{"JSON", `{"Code":"NoSuchKey"}`, foreign},
		{"no code", "<Error><Message>m</Message></Error>", foreign},
		{"cut off", "<Error><Code>NoSuchKey</Code><Message>m", foreign},
		{"tags that do not match", "<Error><Code>NoSuchKey</Message></Error>", foreign},
		{"code with a line break", "<Error><Code>No\nSuchKey</Code></Error>", foreign},
		{"code too long", "<Error><Code>" + strings.Repeat("a", 65) + "</Code></Error>", foreign},
		{"code that is not UTF-8", "<Error><Code>No\xffSuchKey</Code></Error>", foreign},
		{"other encoding", `<?xml version="1.0" encoding="UTF-16"?><Error><Code>X</Code></Error>`, foreign},
		{"entities of its own", `<!DOCTYPE Error [<!ENTITY a "NoSuchKey">]><Error><Code>&a;</Code></Error>`, foreign},
		{"entity bomb", `<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;">]><Error><Code>X</Code><Message>&c;</Message></Error>`, foreign},
		{"external entity", `<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><Error><Code>X</Code><Message>&a;</Message></Error>`, foreign},
		{"beyond the limit", "<Error>" + strings.Repeat(" ", 64<<10) + "<Code>X</Code></Error>", foreign},
		{"the canonical request twice", head + `<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>` + strings.Repeat("%C3%A9", 2000) + `</CanonicalRequest><CanonicalRequestBytes>` + strings.Repeat("25 43 33 ", 4000) + `</CanonicalRequestBytes></Error>`,
			Document{Code: "SignatureDoesNotMatch", ActualObjectSize: -1}},
		{"deep", strings.Repeat("<Error>", 2000), foreign},

		{"a byte order mark", "\xef\xbb\xbf" + head + "<Error><Code>NoSuchKey</Code></Error>", noSuchKey},
		{"a byte order mark alone", "\xef\xbb\xbf", none},
		{"space before the declaration", "\r\n" + head + "<Error><Code>NoSuchKey</Code></Error>", noSuchKey},
		{"encoding UTF8", `<?xml version="1.0" encoding="UTF8"?><Error><Code>NoSuchKey</Code></Error>`, noSuchKey},
		{"encoding utf-8, quoted otherwise", `<?xml version='1.0' encoding='utf-8'?><Error><Code>NoSuchKey</Code></Error>`, noSuchKey},
		{"encoding US-ASCII", `<?xml version="1.0" encoding="US-ASCII"?><Error><Code>NoSuchKey</Code></Error>`, noSuchKey},
		{"encoding ISO-8859-1", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Error><Code>NoSuchKey</Code><Message>\xe9</Message></Error>", noSuchKey},
		{"version 1.1", `<?xml version="1.1" encoding="UTF-8" standalone="yes"?><Error><Code>NoSuchKey</Code></Error>`, noSuchKey},
		{"version 1.1, ISO-8859-1", `<?xml version='1.1' encoding='iso-8859-1'?><Error><Code>NoSuchKey</Code></Error>`, noSuchKey},
		{"version 1.1 in the text alone", `<Error><Code>NoSuchKey</Code><Message>version="1.1"?></Message></Error>`, noSuchKey},
		{"a style sheet", head + `<?xml-stylesheet href="x"?><Error><Code>NoSuchKey</Code></Error>`, noSuchKey},
		{"XML of another kind", `<ListBucketResult><Name>x</Name></ListBucketResult>`, foreign},
		{"a proxy's word", "default backend - 404", foreign},
		{"a binary body", "\x00\x01\x02", foreign},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Parse([]byte(tc.doc)); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func FuzzParseS3Error(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code><Message>m</Message><RequestId>1</RequestId><HostId>2=</HostId></Error>`))
	f.Add([]byte(`<Error><Code>InvalidRange</Code><ActualObjectSize>10</ActualObjectSize><Region>eu</Region></Error>`))
	f.Add([]byte(`<!DOCTYPE l [<!ENTITY a "aaaa">]><Error><Code>&a;</Code></Error>`))
	f.Add([]byte("\xef\xbb\xbf<?xml version=\"1.1\" encoding=\"ISO-8859-1\"?><Error><Code>NoSuchKey</Code><Message>\xe9</Message></Error>"))
	f.Add([]byte("default backend - 404"))
	field := regexp.MustCompile(`^[A-Za-z0-9._:+/=-]{0,64}$`)
	f.Fuzz(func(t *testing.T, doc []byte) {
		e := Parse(doc)
		for _, s := range []string{e.Code, e.Region} {
			if !field.MatchString(s) {
				t.Fatalf("%q: %+v", doc, e)
			}
		}
		if e.ActualObjectSize < -1 || e.Code == "" && e != (Document{ActualObjectSize: -1, Foreign: e.Foreign}) {
			t.Fatalf("%q: %+v", doc, e)
		}
		if o := e.Kind(404); o == nil || o.Status < 400 || e.Foreign && o.Status < 500 {
			t.Fatalf("%q: %+v", doc, o)
		}
	})
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		code   string
		want   int
		reason string
	}{
		{"no such key", 404, "NoSuchKey", 404, "no_such_key"},
		{"no such version", 404, "NoSuchVersion", 404, "no_such_version"},
		{"delete marker by version", 405, "MethodNotAllowed", 404, "delete_marker"},
		{"delete marker by version, to HEAD", 405, "", 404, "delete_marker"},
		{"denied", 403, "AccessDenied", 403, "access_denied"},
		{"all access disabled", 403, "AllAccessDisabled", 403, "access_denied"},
		{"archived", 403, "InvalidObjectState", 403, "object_archived"},
		{"precondition", 412, "PreconditionFailed", 412, "precondition_failed"},
		{"range", 416, "InvalidRange", 416, "invalid_range"},
		{"part number", 416, "InvalidPartNumber", 416, "invalid_range"},
		{"key too long", 400, "KeyTooLongError", 400, "bad_key"},
		{"malformed version id", 400, "InvalidArgument", 400, "bad_key"},
		{"customer's key is missing", 400, "InvalidRequest", 502, "protocol"},

		{"no such bucket", 404, "NoSuchBucket", 502, "no_such_bucket"},
		{"KMS", 400, "KMS.DisabledException", 502, "kms"},
		{"KMS, a code to come", 400, "KMS.SomethingNew", 502, "kms"},
		{"KMS, overload with 400", 400, "KMS.ThrottlingException", 503, "slow_down"},
		{"KMS, overload with 503", 503, "KMS.ThrottlingException", 503, "slow_down"},
		{"KMS, no key at the moment", 500, "KMS.KeyUnavailableException", 503, "kms_unavailable"},
		{"KMS, too slow", 400, "KMS.DependencyTimeoutException", 503, "kms_unavailable"},
		{"KMS, failed", 500, "KMS.KMSInternalException", 503, "kms_unavailable"},
		{"KMS, key in the wrong state", 400, "KMS.KMSInvalidStateException", 502, "kms"},
		{"KMS, no such key", 400, "KMS.NotFoundException", 502, "kms"},
		{"KMS, wrong use", 400, "KMS.InvalidKeyUsageException", 502, "kms"},
		{"KMS of MinIO, no permission", 403, "kms:NotAuthorized", 502, "kms"},
		{"KMS of MinIO, no key", 404, "kms:KeyNotFound", 502, "kms"},
		{"unknown access key", 403, "InvalidAccessKeyId", 502, "credentials"},
		{"unknown access key of versitygw", 404, "XAdminUserNotFound", 502, "credentials"},
		{"wrong secret", 403, "SignatureDoesNotMatch", 502, "signature"},
		{"session token expired", 400, "ExpiredToken", 502, "credentials"},
		{"session token invalid", 400, "InvalidToken", 502, "credentials"},
		{"session token must be refreshed", 400, "TokenRefreshRequired", 502, "credentials"},
		{"account", 403, "AccountProblem", 502, "account"},
		{"R2, a wrong key", 401, "Unauthorized", 502, "credentials"},
		{"R2, no subscription", 403, "NotEntitled", 502, "account"},
		{"R2, too much at once", 429, "TooMuchConcurrency", 503, "slow_down"},
		{"R2, too late", 400, "ExpiredRequest", 502, "clock_skew"},
		{"GCS, who pays", 400, "UserProjectMissing", 502, "requester_pays"},
		{"GCS, KMS", 400, "CloudKmsDisabledKey", 502, "kms"},
		{"Ceph, suspended", 403, "UserSuspended", 502, "account"},
		{"SeaweedFS, too many requests", 429, "ErrTooManyRequest", 503, "slow_down"},
		{"clock", 403, "RequestTimeTooSkewed", 502, "clock_skew"},
		{"wrong region in the scope", 400, "AuthorizationHeaderMalformed", 502, "redirect_region"},
		{"permanent redirect", 301, "PermanentRedirect", 502, "redirect_region"},
		{"temporary redirect", 307, "TemporaryRedirect", 502, "redirect_region"},
		{"redirect without document", 301, "", 502, "redirect_region"},
		{"redirect of another kind", 308, "", 502, "redirect_region"},
		{"internal error", 500, "InternalError", 502, "internal_error"},
		{"slow down", 503, "SlowDown", 503, "slow_down"},
		{"unavailable", 503, "ServiceUnavailable", 503, "slow_down"},
		{"MinIO starts", 503, "XMinioServerNotInitialized", 503, "slow_down"},
		{"request timeout of S3", 400, "RequestTimeout", 504, "timeout"},
		{"request timeout of MinIO", 503, "RequestTimeout", 504, "timeout"},

		{"404 alone", 404, "", 404, "no_such_key"},
		{"404 of unknown code is not absence", 404, "NoSuchConfiguration", 502, "protocol"},
		{"403 alone", 403, "", 403, "access_denied"},
		{"403 of unknown code", 403, "SomethingNew", 403, "access_denied"},
		{"405 of unknown code", 405, "SomethingNew", 502, "protocol"},
		{"400 alone", 400, "", 502, "protocol"},
		{"401 alone", 401, "", 502, "credentials"},
		{"401 of unknown code", 401, "SomethingNew", 502, "credentials"},
		{"414 alone", 414, "", 414, "target_too_long"},
		{"431 alone", 431, "", 431, "header_too_large"},
		{"head too large", 400, "RequestHeaderSectionTooLarge", 431, "header_too_large"},
		{"not implemented", 501, "NotImplemented", 501, "not_implemented"},
		{"409 alone", 409, "", 502, "protocol"},
		{"412 alone", 412, "", 412, "precondition_failed"},
		{"416 alone", 416, "", 416, "invalid_range"},
		{"408 alone", 408, "", 504, "timeout"},
		{"429 alone", 429, "", 503, "slow_down"},
		{"500 of unknown code", 500, "SomethingNew", 502, "internal_error"},
		{"501 alone", 501, "", 501, "not_implemented"},
		{"503 alone", 503, "", 503, "slow_down"},
		{"504 alone", 504, "", 504, "timeout"},
		{"no status of HTTP", 999, "", 502, "protocol"},
		{"success is none here", 204, "", 502, "protocol"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Classify(tc.status, tc.code)
			if o.Status != tc.want || o.Reason != tc.reason {
				t.Errorf("Classify(%d, %q): %d %s, want %d %s", tc.status, tc.code, o.Status, o.Reason, tc.want, tc.reason)
			}
			if again := Classify(tc.status, tc.code); again != o {
				t.Error("the kind is not the table's own")
			}
		})
	}
}

// The public half of a kind must not tell what the log tells, and 503 must
// say when to come back.
func TestKinds(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z_]*$`)
	code := regexp.MustCompile(`^[A-Z][A-Za-z0-9.]*$`)
	public := make(map[string]int) // status by public code
	for c, o := range Codes {
		if !code.MatchString(c) || word(c) != c {
			t.Errorf("%q cannot be a code of a document", c)
		}
		if !name.MatchString(o.Code) || !name.MatchString(o.Reason) || o.Message == "" {
			t.Errorf("%s: %+v", c, *o)
		}
		if (o.Status == 503) != (o.RetryAfter > 0) {
			t.Errorf("%s: status %d with Retry-After %d", c, o.Status, o.RetryAfter)
		}
		if strings.Contains(o.Message, c) {
			t.Errorf("%s: the message %q has the origin's code", c, o.Message)
		}
		if s := public[o.Code]; s != 0 && s != o.Status {
			t.Errorf("%s: public code %s stands for %d and %d", c, o.Code, s, o.Status)
		}
		public[o.Code] = o.Status
	}
}

// TestS3Codes states for each code of the table what a client gets: 404 only
// for absence, 502 for what the operator must mend.
func TestS3Codes(t *testing.T) {
	codes := map[int]string{
		400: "InvalidArgument InvalidURI KeyTooLongError KeyTooLong InvalidObjectName InvalidVersionId XMinioInvalidObjectName XMinioInvalidResourceName",
		403: "AccessDenied AllAccessDisabled UnauthorizedAccess UnauthorizedAccessError SecurityPolicyViolated AccessForbidden InvalidObjectState",
		404: "NoSuchKey NoSuchVersion MethodNotAllowed",
		412: "PreconditionFailed",
		416: "InvalidRange InvalidPartNumber NoSuchPart",
		431: "RequestHeaderSectionTooLarge MaxMessageLengthExceeded",
		501: "NotImplemented",
		502: "NoSuchBucket NoSuchAccessPoint InvalidAccessPoint InvalidAccessPointAliasError InvalidBucketName " +
			"InvalidClientTokenId Unauthorized AuthenticationRequired NoSuchUser XAdminAccessDenied NotEntitled QuotaExceeded " +
			"UserProjectAccessDenied UserProjectAccountProblem UserProjectInvalid UserProjectMissing MissingAuthenticationToken " +
			"UnsupportedSignature ExpiredRequest InvalidRegionName EndpointNotFound " +
			"InvalidAccessKeyId InvalidSecurity XAdminUserNotFound InvalidToken InvalidTokenId ExpiredToken TokenRefreshRequired " +
			"AccountProblem InvalidPayer NotSignedUp UserSuspended SignatureDoesNotMatch AuthorizationParametersError " +
			"AuthorizationQueryParametersError CredentialsNotSupported InvalidSignature MalformedDate MissingSecurityHeader " +
			"XAmzContentSHA256Mismatch RequestTimeTooSkewed RequestExpired AuthorizationHeaderMalformed " +
			"IllegalLocationConstraintException IncorrectEndpoint InvalidRegion PermanentRedirect PermanentRedirectControlError " +
			"Redirect TemporaryRedirect InternalError",
		503: "SlowDown SlowDownRead ServiceUnavailable Busy ServerBusy Throttling ThrottlingException TooManyRequests " +
			"RequestLimitExceeded BandwidthLimitExceeded XMinioBackendDown XMinioBucketMetadataNotInitialized " +
			"XMinioIAMNotInitialized XMinioServerNotInitialized TooMuchConcurrency ErrTooManyRequest ErrRequestBytesExceed " +
			"RateLimitExceeded KMS.ThrottlingException KMS.LimitExceededException KMS.DependencyTimeoutException " +
			"KMS.InternalException KMS.KMSInternalException KMS.KeyUnavailableException",
		504: "RequestTimeout",
	}
	stated := make(map[string]bool)
	for want, list := range codes {
		for code := range strings.FieldsSeq(list) {
			stated[code] = true
			for _, status := range []int{200, 301, 400, 403, 404, 500, 503} { // the code decides, not the status
				if o := Classify(status, code); o.Status != want {
					t.Errorf("%s with status %d: %d, want %d", code, status, o.Status, want)
				}
			}
		}
	}
	for code := range Codes {
		if !stated[code] {
			t.Errorf("%s: the status is not stated here", code)
		}
	}
	if o := Classify(403, "InvalidObjectState"); o.Code != "object_archived" {
		t.Errorf("an archived object is %s", o.Code)
	}
}

// TestS3Faults states for each status and code what it is about: what a request causes is
// neither asked again nor counted against the origin, and what holds for one object is
// not held against others.
func TestS3Faults(t *testing.T) {
	for o, want := range map[*Kind]Fault{
		NoSuchKey: FaultRequest, NoSuchVersion: FaultRequest, Deleted: FaultRequest, Denied: FaultRequest,
		Archived: FaultRequest, preconditionFailed: FaultRequest, invalidRange: FaultRequest, badKey: FaultRequest,
		longTarget: FaultRequest, longHead: FaultRequest, notImplemented: FaultRequest,
		KMS: FaultObject, Protocol: FaultObject, Foreign: FaultObject, KMSDown: faultPassing,
		noSuchBucket: FaultSetup, AccessKey: FaultSetup, Token: FaultSetup, account: FaultSetup,
		payer: FaultSetup, signature: FaultSetup, Clock: FaultSetup, region: FaultSetup, redirect: FaultSetup,
		Internal: FaultOrigin, slowDown: FaultOrigin, timeout: FaultOrigin,
	} {
		if o.Fault != want {
			t.Errorf("%s: fault %d, want %d", o.Reason, o.Fault, want)
		}
	}
}

// TestForeignDocuments states what an answer with a body is taken for that is no document
// of S3: of 404, 403, 400, 401 and 405 nothing is believed.
func TestForeignDocuments(t *testing.T) {
	for status, want := range map[int]string{
		400: "not_s3", 401: "not_s3", 403: "not_s3", 404: "not_s3", 405: "not_s3", 409: "not_s3", 410: "not_s3", 451: "not_s3",
		301: "redirect_region", 308: "redirect_region", 408: "timeout", 412: "precondition_failed", 414: "target_too_long",
		416: "invalid_range", 429: "slow_down", 431: "header_too_large",
		500: "internal_error", 501: "not_implemented", 502: "internal_error", 503: "slow_down", 504: "timeout", 520: "internal_error",
	} {
		doc := Parse([]byte("<html><body>no</body></html>"))
		if o := doc.Kind(status); o.Reason != want {
			t.Errorf("%d: %s, want %s", status, o.Reason, want)
		}
	}
}
