import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Mints tickets for Keyward, which lets a portal's people into the applications behind it. Copy this file into
 * the portal; it needs Java 17 and nothing else.
 */
public final class KeywardTicket {
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final Pattern CONTROL = Pattern.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]");
    private static final String BLANK = "[ \\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000]";
    private static final Pattern BLANK_AT_AN_EDGE = Pattern.compile("\\A" + BLANK + "|" + BLANK + "\\z");

    private KeywardTicket() {}

    /**
     * Whose session it is. Times are Unix seconds; {@code name} and {@code email} are empty where there is none.
     */
    public record Claims(String sid, String sub, long iat, long exp, List<String> roles, String name, String email) {}

    /** A new name for a session, which nobody can guess. Every sign-in gets one of its own. */
    public static String newSessionId() {
        return HexFormat.of().formatHex(random(16));
    }

    /**
     * The ticket that the browser brings from now on, as the value of the portal's cookie.
     *
     * @param secret the one of the portal's [[portal.key]] with the id {@code keyId}, as it is written there:
     *     text, base64:… or hex:…
     * @param password sealed into the ticket where the applications want one, else null
     * @throws IllegalArgumentException for what Keyward would not accept
     */
    public static String mintTicket(String keyId, String secret, Claims claims, String password)
            throws GeneralSecurityException {
        check(keyId.matches("[A-Za-z0-9_-]{1,64}"), "the key id has other characters than A-Z a-z 0-9 - _");
        checkText("sid", claims.sid);
        int characters = claims.sid.codePointCount(0, claims.sid.length());
        check(16 <= characters && characters <= 128, "sid must have 16 to 128 characters");
        checkText("sub", claims.sub);
        check(!claims.sub.isEmpty(), "sub is empty");
        checkEdges("sub", claims.sub);
        checkText("name", claims.name);
        checkText("email", claims.email);
        checkEdges("email", claims.email);
        check(claims.roles.size() <= 256, "there are more than 256 roles");
        for (String role : claims.roles) {
            checkText("a role", role);
            check(!role.isEmpty() && !role.contains(","), "a role is empty or holds a comma");
            checkEdges("a role", role);
        }
        check(0 <= claims.iat && claims.iat < claims.exp, "exp must be later than iat");

        byte[] material = keyMaterial(secret);
        StringBuilder json = new StringBuilder("{\"sid\":" + quoted(claims.sid) + ",\"sub\":" + quoted(claims.sub)
                + ",\"iat\":" + claims.iat + ",\"exp\":" + claims.exp);
        // Left out where there is none: null is no value of a ticket.
        if (!claims.roles.isEmpty()) {
            json.append(claims.roles.stream().map(KeywardTicket::quoted)
                    .collect(Collectors.joining(",", ",\"roles\":[", "]")));
        }
        if (!claims.name.isEmpty()) json.append(",\"name\":").append(quoted(claims.name));
        if (!claims.email.isEmpty()) json.append(",\"email\":").append(quoted(claims.email));
        if (password != null) json.append(",\"cred\":").append(quoted(seal(material, claims.sid, password)));
        String signed = "kw1." + keyId + "." + base64url(utf8("the ticket", json.append('}').toString()));
        byte[] mac = hmac(derive(material, "keyward ticket mac v1"), signed.getBytes(UTF_8));
        String ticket = signed + "." + base64url(mac);
        check(ticket.length() <= 8192, "the ticket is longer than 8 KiB");
        return ticket;
    }

    /** The password, for nobody but Keyward, and for this session alone. */
    private static String seal(byte[] material, String sid, String password) throws GeneralSecurityException {
        // An empty password is an anonymous sign-in at many servers, so Keyward takes none.
        check(!password.isEmpty(), "the password is empty");
        byte[] nonce = random(12);
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        SecretKeySpec key = new SecretKeySpec(derive(material, "keyward ticket seal v1"), "AES");
        cipher.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(128, nonce));
        cipher.updateAAD(sid.getBytes(UTF_8));
        byte[] sealed = cipher.doFinal(utf8("the password", password));
        return base64url(ByteBuffer.allocate(12 + sealed.length).put(nonce).put(sealed).array());
    }

    /** HKDF-SHA256 (RFC 5869) without salt, for 32 bytes, which is one round of it. */
    private static byte[] derive(byte[] material, String purpose) throws GeneralSecurityException {
        return hmac(hmac(new byte[32], material), (purpose + "\u0001").getBytes(UTF_8));
    }

    private static byte[] hmac(byte[] key, byte[] text) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text);
    }

    private static byte[] keyMaterial(String secret) {
        byte[] material;
        try {
            if (secret.startsWith("base64:")) {
                String text = secret.substring(7).strip();
                material = Base64.getDecoder().decode(text);
                // Java takes it without its padding as well.
                check(Base64.getEncoder().encodeToString(material).equals(text), "");
            } else if (secret.startsWith("hex:")) {
                material = HexFormat.of().parseHex(secret.substring(4).strip());
            } else {
                material = utf8("the secret", secret);
            }
        } catch (IllegalArgumentException error) {
            // Without the cause, which would show it.
            throw new IllegalArgumentException("the secret is not what its prefix says");
        }
        check(material.length >= 32, "the secret must be at least 32 bytes long");
        return material;
    }

    /** Half a surrogate pair stands for no character; getBytes would make a question mark of it. */
    private static byte[] utf8(String what, String text) {
        try {
            ByteBuffer bytes = UTF_8.newEncoder().encode(CharBuffer.wrap(text));
            byte[] exact = new byte[bytes.remaining()];
            bytes.get(exact);
            return exact;
        } catch (CharacterCodingException error) {
            throw new IllegalArgumentException(what + " is no text");
        }
    }

    private static String quoted(String text) {
        // Control characters, which would have to be escaped as well, are refused.
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private static void checkText(String what, String text) {
        check(utf8(what, text).length <= 512, what + " is longer than 512 bytes");
        check(!CONTROL.matcher(text).find(), what + " holds a control character");
    }

    private static void checkEdges(String what, String text) {
        check(!BLANK_AT_AN_EDGE.matcher(text).find(), what + " begins or ends with a blank");
    }

    private static void check(boolean fine, String otherwise) {
        if (!fine) throw new IllegalArgumentException(otherwise);
    }

    private static byte[] random(int length) {
        byte[] bytes = new byte[length];
        RANDOM.nextBytes(bytes);
        return bytes;
    }

    private static String base64url(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    /**
     * For trying it out: each line of standard input is one ticket to make, written like the query of an address:
     * key_id=2026a&secret=…&sid=…&sub=ana&iat=1767225600&exp=1767229200&role=staff&role=admin&name=…&email=…&password=…
     */
    public static void main(String[] arguments) throws IOException, GeneralSecurityException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        PrintStream out = new PrintStream(System.out, true, UTF_8);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, String> given = new HashMap<>(Map.of("sid", newSessionId(), "sub", "", "name", "", "email", ""));
            List<String> roles = new ArrayList<>();
            for (String pair : line.split("&")) {
                String[] parts = pair.split("=", 2);
                String value = URLDecoder.decode(parts[1], UTF_8);
                if (parts[0].equals("role")) roles.add(value);
                else given.put(parts[0], value);
            }
            Claims claims = new Claims(given.get("sid"), given.get("sub"), Long.parseLong(given.get("iat")),
                    Long.parseLong(given.get("exp")), roles, given.get("name"), given.get("email"));
            try {
                out.println(mintTicket(given.get("key_id"), given.get("secret"), claims, given.get("password")));
            } catch (IllegalArgumentException refusal) {
                out.println("refused: " + refusal.getMessage());
            }
        }
    }
}
