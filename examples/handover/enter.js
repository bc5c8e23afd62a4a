// For portal pages: opens an application of Keyward's, whatever layout it is in. Where a call is not
// answered, or the browser keeps no cookies for another site's host, the way by redirect is taken.
//
//     <button onclick="keywardEnter('mail')">E-mail</button>
async function keywardEnter(backend) {
  const start = `/.keyward/enter/${backend}`;
  const ask = async (address, body) => {
    const answer = await fetch(address, {
      method: "POST",
      credentials: "include",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return answer.json();
  };
  try {
    let answer = await ask(start, {});
    if (answer.at) {
      const application = answer.at;
      const { state } = await ask(application, {});
      const { token } = await ask(start, { state });
      answer = await ask(application, { token });
    }
    location.assign(answer.url ?? answer.login ?? start);
  } catch {
    location.assign(start);
  }
}
