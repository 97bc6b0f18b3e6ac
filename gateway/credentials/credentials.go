// Package credentials retrieves what a replica's requests are signed with: from the configuration,
// the environment, a file, the instance, or by taking on a role.
package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"yatagarasu/gateway/config/upstream"
	"yatagarasu/sign"
)

// rereadShared is how often a shared credentials file is read again.
const rereadShared = time.Minute

// New returns what has the credentials for s, and reports each retrieval; nil: it has worked.
func New(s *upstream.S3, report func(error)) (*sign.Provider, error) {
	c := &s.Credentials
	switch c.Source {
	case upstream.SourceAnonymous:
		return sign.NewAnonymousProvider(), nil
	case upstream.SourceStatic:
		return sign.NewStaticProvider(sign.Options{
			AccessKey: s.AccessKey, SecretKey: s.SecretKey.Reveal(), SessionToken: s.SessionToken.Reveal(), Region: s.Region,
		})
	}
	o := sign.ProviderOptions{Region: s.Region, Report: report}
	if c.Source == upstream.SourceSharedFile {
		o.Reread = rereadShared
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: 5 * time.Second, IdleConnTimeout: 30 * time.Second,
	}}
	o.Retrieve = func(ctx context.Context) (sign.Credential, error) {
		v, err := retrieve(s, &credentials.CredContext{Client: client, Context: ctx})
		if err != nil {
			return sign.Credential{}, err
		}
		if v.SignerType == credentials.SignatureAnonymous || v.AccessKeyID == "" || v.SecretAccessKey == "" {
			return sign.Credential{}, fmt.Errorf("source %s offers no credential", c.Source)
		}
		return sign.Credential{AccessKey: v.AccessKeyID, SecretKey: v.SecretAccessKey, SessionToken: v.SessionToken, Expires: v.Expiration}, nil
	}
	return sign.NewProvider(o), nil
}

// retrieve asks the source of s for a credential. The providers of the library are
// made for each time: what they keep is kept elsewhere.
func retrieve(s *upstream.S3, cc *credentials.CredContext) (credentials.Value, error) {
	c := &s.Credentials
	switch c.Source {
	case upstream.SourceEnvironment:
		return new(credentials.EnvAWS).RetrieveWithCredContext(cc)
	case upstream.SourceSharedFile:
		return (&credentials.FileAWSCredentials{Filename: c.File, Profile: c.Profile}).RetrieveWithCredContext(cc)
	case upstream.SourceInstance:
		return instance(s, c.Endpoint).RetrieveWithCredContext(cc)
	case upstream.SourceWebIdentity:
		file := cmp.Or(c.TokenFile, os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"))
		role := cmp.Or(c.RoleARN, os.Getenv("AWS_ROLE_ARN"))
		if file == "" || role == "" {
			return credentials.Value{}, errors.New("web_identity needs role_arn and token_file, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE in the environment")
		}
		token, err := os.ReadFile(file)
		if err != nil {
			return credentials.Value{}, fmt.Errorf("cannot read the token: %w", err)
		}
		return (&credentials.STSWebIdentity{
			STSEndpoint: stsEndpoint(s), RoleARN: role,
			GetWebIDTokenExpiry: func() (*credentials.WebIdentityToken, error) {
				return &credentials.WebIdentityToken{Token: strings.TrimSpace(string(token))}, nil
			},
		}).RetrieveWithCredContext(cc)
	case upstream.SourceAssumeRole:
		own, err := ownCredential(s, cc)
		if err != nil {
			return credentials.Value{}, err
		}
		return (&credentials.STSAssumeRole{STSEndpoint: stsEndpoint(s), Options: credentials.STSAssumeRoleOptions{
			AccessKey: own.AccessKeyID, SecretKey: own.SecretAccessKey, SessionToken: own.SessionToken,
			Location: s.Region, DurationSeconds: int(c.Duration / time.Second), RoleARN: c.RoleARN,
			RoleSessionName: cmp.Or(c.SessionName, "yatagarasu"), ExternalID: c.ExternalID.Reveal(),
		}}).RetrieveWithCredContext(cc)
	}
	panic("BUG: unknown source of credentials: " + c.Source)
}

// ownCredential returns the credential that takes on a role: that of s3, or what the
// environment, the shared file or the instance offers.
func ownCredential(s *upstream.S3, cc *credentials.CredContext) (credentials.Value, error) {
	if s.AccessKey != "" {
		return credentials.Value{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey.Reveal(), SessionToken: s.SessionToken.Reveal()}, nil
	}
	var errs []error
	for _, p := range []credentials.Provider{new(credentials.EnvAWS), new(credentials.FileAWSCredentials), instance(s, "")} {
		v, err := p.RetrieveWithCredContext(cc)
		if err == nil && v.AccessKeyID != "" {
			return v, nil
		}
		errs = append(errs, err)
	}
	return credentials.Value{}, fmt.Errorf("there is no credential to take on the role with: set access_key and secret_key, or offer one in the environment, the shared file or the instance: %w", errors.Join(errs...))
}

// stsEndpoint returns where roles are taken on
// (https://docs.aws.amazon.com/general/latest/gr/sts.html).
func stsEndpoint(s *upstream.S3) string {
	return cmp.Or(s.Credentials.Endpoint, "https://"+upstream.AWSHost("sts", s.Region))
}

// instance returns the provider of what the instance offers. The library has the STS
// of two partitions alone for a role of Kubernetes.
func instance(s *upstream.S3, endpoint string) *credentials.IAM {
	if endpoint == "" && os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		endpoint = "https://" + upstream.AWSHost("sts", cmp.Or(os.Getenv("AWS_REGION"), s.Region))
	}
	return &credentials.IAM{Endpoint: endpoint, Region: s.Region}
}
